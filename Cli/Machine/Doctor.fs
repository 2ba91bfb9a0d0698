/// `legato doctor`: what Legato sees of this machine.
module Legato.Cli.Doctor

open Argu
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
    Arguments.options "legato doctor" apply { Json = false } (fun _ _ -> []) given

let private gibibytes (bytes: int64) = $"%.1f{float bytes / float (1L <<< 30)} GiB"

let private table (machine: Machine.Machine) =
    let processor, memory, disk = machine.Processor, machine.Memory, machine.Disk

    [
        "system", machine.System
        "runtime", machine.Runtime
        "SDK", machine.Sdk |> Option.defaultValue "none (needed to build, not to run)"
        "processor", $"{processor.Name} ({processor.Architecture})"
        "cores", string processor.Cores
        if Seq.isEmpty processor.Caches |> not then
            "caches", String.concat ", " processor.Caches
        "instructions", String.concat " " processor.InstructionSets
        "kernels", processor.Kernels
        "memory", $"{gibibytes memory.Total}, {gibibytes memory.Available} available"
        "disk", $"{gibibytes disk.Free} of {gibibytes disk.Total} free at {disk.Folder}"
    ]

let private gpuRows (gpus: Gpus.Found) =
    let listed =
        match gpus.Gpus with
        | [] -> [ "GPU", "none" ]
        | gpus ->
            gpus
            |> List.map (fun gpu ->
                "GPU",
                $"{gpu.Name}, {gibibytes gpu.Memory}, compute capability {gpu.Capability}, {gpu.Multiprocessors} multiprocessors")

    let libraries =
        gpus.Libraries
        |> List.map (fun library -> library.Name, library.Path |> Option.defaultValue $"missing: {library.Install}")

    let driver = gpus.Driver |> Option.map (fun version -> "driver", $"CUDA {version}") |> Option.toList
    let problem = gpus.Problem |> Option.map (fun problem -> "problem", problem) |> Option.toList
    let isMissing = gpus.Libraries |> List.exists _.Path.IsNone

    let searched =
        if isMissing then
            [ "searched", String.concat ", " ("the system loader's folders" :: gpus.Searched) ]
        else
            []

    listed @ driver @ libraries @ searched @ problem @ [ "kernels and choices", gpus.Cache ]

let run (options: DoctorOptions) =
    let machine = Machine.describe ()
    let gpus = Gpus.find ()

    if options.Json then
        JsonOutput.print {| machine with Cuda = gpus |}
    else
        for name, value in table machine @ gpuRows gpus do
            printfn "%-20s%s" name value

    0
