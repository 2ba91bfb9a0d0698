/// What a GPU reaches at each kind of work that predictions tell apart: measured once, kept beside its kernels for the card and
/// its driver.
module Legato.Cli.GpuSpeed

open System
open System.Text.Json
open Legato.Compiler
open Legato.Runtime.Cuda

let private key (gpu: CudaGpu) precision = $"speed, 2nd form\n{gpu.Name}\n{CudaMachine.DriverVersion()}\n{precision}"

/// Measures, and keeps what was found. `kernels`: float32 operations a second, by the card's data sheet.
let measure (device: CudaDevice) precision kernels : DeviceSpeed =
    let launch, perSecond = GpuMeasuring.reading device precision 1L
    let _, perSecondOfMany = GpuMeasuring.reading device precision 16L

    let speed = {
        Products = GpuMeasuring.products device precision
        ProductBytes = [ { Work = 1.0; PerSecond = perSecond }; { Work = 16.0; PerSecond = perSecondOfMany } ]
        Attention = GpuMeasuring.attention device precision
        CacheBytes = GpuMeasuring.caches device precision launch
        Kernels = kernels
        Bandwidth = GpuMeasuring.bandwidth device precision
        LaunchSeconds = launch
    }

    CubinCache.Keep(key device.Information precision, JsonSerializer.SerializeToUtf8Bytes speed)
    speed

/// What was measured before on such a card with this driver.
let kept (gpu: CudaGpu) precision : DeviceSpeed option =
    match CubinCache.Find(key gpu precision) with
    | null -> None
    | bytes -> Some(JsonSerializer.Deserialize<DeviceSpeed>(ReadOnlySpan bytes))

/// Memory that a measurement takes, and some.
let private room = 2L <<< 30

/// What is kept, or measured now; None where other things leave no room to measure.
let ofDevice (device: CudaDevice) precision kernels : DeviceSpeed option =
    match kept device.Information precision with
    | Some speed -> Some speed
    | None when device.BytesFree >= room -> Some(measure device precision kernels)
    | None -> None

/// A speed as `legato bench` shows it, with the share of what the card does at most by its data sheet.
let figures precision (limits: Rounds.Limits) (speed: DeviceSpeed) : Rounds.Figure list =
    let known (value: float) : Rounds.Spread = { Median = value; Best = value }

    let figure name unit perSecond (limit: Rounds.Spread option) : Rounds.Figure = {
        Name = $"{name}, {precision}"
        Unit = unit
        PerSecond = known perSecond
        WorkUnit = ""
        Work = None
        Share = limit |> Option.map (fun limit -> known (perSecond / limit.Median))
    }

    [
        for point in speed.Products do
            figure $"product of {round (Math.Cbrt(point.Work / 2.0))}³" "FLOP" point.PerSecond (Some limits.Flops)
        for point in speed.ProductBytes do
            figure $"product of few rows, {point.Work}" "B" point.PerSecond (Some limits.Read)
        for known in speed.Attention do
            for way, curve in [ "forward", known.Forward; "backward", known.Backward ] do
                for point in curve do
                    figure
                        $"attention {way}, head {known.HeadSize}, {point.Work} keys"
                        "FLOP"
                        point.PerSecond
                        (Some limits.Flops)
        for point in speed.CacheBytes do
            figure $"attention of a query, {Units.bytes (int64 point.Work)}" "B" point.PerSecond (Some limits.Read)
        figure "copy" "B" speed.Bandwidth (Some limits.Read)
        figure "launches" "" (1.0 / speed.LaunchSeconds) None
    ]
