/// What this machine can do at most, remembered from the last measurement so that a prediction needn't take its time.
module Legato.Cli.SavedLimits

open System
open System.IO
open System.Runtime.Intrinsics
open System.Text.Json
open Legato.Compiler
open Legato.Runtime
open Legato.Runtime.Checkpoints
open Legato.Runtime.Cpu

type Speed = { Device: DeviceSpeed; Origin: string }

let private file () =
    let own = Environment.GetEnvironmentVariable "XDG_CACHE_HOME"

    let caches =
        if String.IsNullOrEmpty own then
            Path.Combine(Environment.GetFolderPath Environment.SpecialFolder.UserProfile, ".cache")
        else
            own

    Path.Combine(caches, "legato", "machine.json")

/// Remembers a measurement. A cache that can't be written is none: predictions are estimates then.
let save (limits: MachineLimits) =
    try
        let path = file ()
        Directory.CreateDirectory(Path.GetDirectoryName path) |> ignore
        AtomicWrite.Text(path, JsonSerializer.Serialize limits)
    with
    | :? IOException
    | :? UnauthorizedAccessException
    | :? LegatoException -> ()

let private saved () =
    try
        JsonSerializer.Deserialize<MachineLimits>(File.ReadAllText(file ())) |> Option.ofObj
    with
    | :? IOException
    | :? UnauthorizedAccessException
    | :? JsonException -> None

/// Shares of the peak that the kernels have been measured to reach.
let private speed flops bandwidth =
    let attention = DeviceSpeed.always (0.5 * flops)

    {
        Products = DeviceSpeed.always (0.85 * flops)
        ProductBytes = DeviceSpeed.always bandwidth
        Attention = [ { HeadSize = 64L; Forward = attention; Backward = attention } ]
        CacheBytes = DeviceSpeed.always bandwidth
        Kernels = 0.25 * flops
        Bandwidth = bandwidth
        LaunchSeconds = 0.0
    }

/// Two multiply-adds of a vector a cycle at 3 GHz, and 10 GB/s a core.
let private estimate cores =
    let lanes =
        match CpuIsaChoice.Active with
        | CpuIsa.Avx512 -> Vector512<float32>.Count
        | CpuIsa.Avx2 -> Vector256<float32>.Count
        | _ -> Vector128<float32>.Count

    speed (float (cores * lanes) * 2.0 * 2.0 * 3e9) (float cores * 10e9)

/// The last measurement on this machine with these instructions, or a rough estimate.
let current () =
    match saved () with
    | Some limits when limits.Isa = CpuIsaChoice.Active && limits.Threads = Team.DefaultThreads -> {
        Device = speed limits.FlopsAllThreads limits.ReadBytesAllThreads
        Origin = $"measured by `legato bench machine`: {limits.Processor}"
      }
    | _ -> {
        Device = estimate Team.DefaultThreads
        Origin = "a rough estimate; `legato bench machine` measures this machine"
      }
