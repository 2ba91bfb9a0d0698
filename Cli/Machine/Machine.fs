/// What this machine has, as far as Legato cares.
module Legato.Cli.Machine

open System
open System.Diagnostics
open System.IO
open System.Runtime.InteropServices
open System.Runtime.Intrinsics.Arm
open System.Runtime.Intrinsics.X86
open Legato.Runtime.Cpu

type Processor = {
    Name: string
    Architecture: string
    /// Logical cores that this process may use.
    Cores: int
    InstructionSets: string list
    /// The instruction set that Legato's kernels use here.
    Kernels: string
    /// Level and size of each of the first core's caches, such as "L2 1M"; empty where the system doesn't tell.
    Caches: string list
}

/// Bytes.
type Memory = { Total: int64; Available: int64 }

/// Bytes on the disk of a folder.
type Disk = { Folder: string; Total: int64; Free: int64 }

type Machine = {
    System: string
    Runtime: string
    /// The .NET SDK's version; None where only the runtime is installed.
    Sdk: string option
    Processor: Processor
    Memory: Memory
    Disk: Disk
}

/// The value of the first `name: value` line of a file like /proc/cpuinfo.
let private field (path: string) (name: string) =
    if File.Exists path then
        File.ReadLines path
        |> Seq.tryFind _.StartsWith(name, StringComparison.Ordinal)
        |> Option.map (fun line -> line.Substring(line.IndexOf ':' + 1).Trim())
    else
        None

/// What a program prints, or None where it can't be run.
let private outputOf (program: string) (arguments: string) =
    try
        let info =
            ProcessStartInfo(program, arguments, RedirectStandardOutput = true, RedirectStandardError = true)

        use child = Process.Start info
        let text = child.StandardOutput.ReadToEnd().Trim()
        child.WaitForExit()
        if child.ExitCode = 0 && text <> "" then Some text else None
    with :? ComponentModel.Win32Exception ->
        None

let private processorName () =
    field "/proc/cpuinfo" "model name"
    |> Option.orElseWith (fun () -> outputOf "sysctl" "-n machdep.cpu.brand_string")
    |> Option.orElseWith (fun () -> Option.ofObj (Environment.GetEnvironmentVariable "PROCESSOR_IDENTIFIER"))
    |> Option.defaultValue "unknown"

let private instructionSets () =
    [
        "avx2", Avx2.IsSupported
        "fma", Fma.IsSupported
        "avx512f", Avx512F.IsSupported
        "avx512bw", Avx512BW.IsSupported
        "avx512dq", Avx512DQ.IsSupported
        "avx512vl", Avx512F.VL.IsSupported
        "avx512vbmi", Avx512Vbmi.IsSupported
        "neon", AdvSimd.IsSupported
        "dotprod", Dp.IsSupported
    ]
    |> List.choose (fun (name, isSupported) -> if isSupported then Some name else None)

let private caches () =
    let folder = "/sys/devices/system/cpu/cpu0/cache"
    let read index name = File.ReadAllText(Path.Combine(index, name)).Trim()

    if Directory.Exists folder then
        Directory.GetDirectories(folder, "index*")
        |> Array.sort
        |> Array.filter (fun index -> read index "type" <> "Instruction")
        |> Array.map (fun index -> $"""L{read index "level"} {read index "size"}""")
        |> List.ofArray
    else
        []

let private processor () = {
    Name = processorName ()
    Architecture = RuntimeInformation.ProcessArchitecture.ToString().ToLowerInvariant()
    Cores = Environment.ProcessorCount
    InstructionSets = instructionSets ()
    Kernels = CpuIsaChoice.Active.ToString().ToLowerInvariant()
    Caches = caches ()
}

/// /proc/meminfo counts in KiB; elsewhere the runtime's own view of the machine stands in.
let memory () =
    let kibibytes name = field "/proc/meminfo" name |> Option.map (fun text -> 1024L * Int64.Parse(text.Split(' ').[0]))

    let info = GC.GetGCMemoryInfo()
    let total = info.TotalAvailableMemoryBytes

    {
        Total = kibibytes "MemTotal" |> Option.defaultValue total
        Available = kibibytes "MemAvailable" |> Option.defaultValue (total - info.MemoryLoadBytes)
    }

let private disk folder =
    let drive = DriveInfo folder

    { Folder = folder; Total = drive.TotalSize; Free = drive.AvailableFreeSpace }

let describe () = {
    System = $"{RuntimeInformation.OSDescription} ({RuntimeInformation.RuntimeIdentifier})"
    Runtime = RuntimeInformation.FrameworkDescription
    Sdk = outputOf "dotnet" "--version"
    Processor = processor ()
    Memory = memory ()
    Disk = disk Environment.CurrentDirectory
}
