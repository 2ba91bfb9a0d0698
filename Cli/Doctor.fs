/// `legato doctor`: what Legato sees of this machine.
module Legato.Cli.Doctor

open Argu
open FsToolkit.ErrorHandling
open Legato.Runtime

type DoctorArgument =
    | Json

    interface IArgParserTemplate with
        member argument.Usage =
            match argument with
            | Json -> "print it as JSON"

type DoctorOptions = { Json: bool }

let private apply (_: DoctorOptions) argument =
    match argument with
    | DoctorArgument.Json -> { Json = true }

let options (given: ParseResults<DoctorArgument>) : Result<DoctorOptions, LegatoException list> =
    Arguments.gather "legato doctor" Arguments.noConfig given
    |> Result.map (List.fold apply { Json = false })

let private gibibytes (bytes: int64) = $"%.1f{float bytes / float (1L <<< 30)} GiB"

let private table (machine: Machine.Machine) =
    let processor, memory, disk = machine.Processor, machine.Memory, machine.Disk

    [
        "system", machine.System
        "runtime", machine.Runtime
        "SDK", machine.Sdk |> Option.defaultValue "none (needed to build, not to run)"
        "processor", $"{processor.Name} ({processor.Architecture})"
        "cores", string processor.Cores
        "caches", String.concat ", " processor.Caches
        "instructions", String.concat " " processor.InstructionSets
        "kernels", processor.Kernels
        "memory", $"{gibibytes memory.Total}, {gibibytes memory.Available} available"
        "disk", $"{gibibytes disk.Free} of {gibibytes disk.Total} free at {disk.Folder}"
    ]

let run (options: DoctorOptions) =
    let machine = Machine.describe ()

    if options.Json then
        JsonOutput.print machine
    else
        for name, value in table machine do
            printfn "%-14s%s" name value

    0
