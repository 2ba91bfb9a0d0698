/// What a plan is foretold for: this machine's processor or GPU, or a card that needn't be there.
module Legato.Cli.PlanTarget

open Legato.Compiler
open Legato.Runtime.Cuda
open Legato.Runtime.Devices
open Legato.Runtime.Plans

type Target = {
    Speed: DeviceSpeed
    /// Where the speed comes from.
    Origin: string
    Gpu: CudaGpu option
    /// Bytes that the plan's steps take beside its buffers, and a GPU's launches.
    Foretell: Plan -> int64 * int
}

let private ofProcessor () =
    let speed = SavedLimits.current ()

    let foretell plan =
        use device = DeviceChoice.openDevice Device.Cpu None true
        DeviceChoice.foretell device plan

    { Speed = speed.Device; Origin = speed.Origin; Gpu = None; Foretell = foretell }

let private onPaper gpu plan =
    use device = CudaDevice.OnPaper gpu
    DeviceChoice.foretell device plan

let private bySheet precision (card: GpuCards.Card) =
    GpuCards.speed precision card, $"{card.Gpu.Name}, from a table: its data sheet, and what kernels reach of an H200's"

let private measured (gpu: CudaGpu) = $"{gpu.Name}, measured"

let private kernels gpu = (GpuCards.speed "fp32" (GpuCards.ofGpu gpu)).Kernels

/// Of a GPU that is there; where it was never measured it is opened for that, unless it is open.
let private ofGpu precision (opened: CudaDevice option) (gpu: CudaGpu) =
    let measure device = GpuSpeed.ofDevice device precision (kernels gpu)

    let found =
        match GpuSpeed.kept gpu precision, opened with
        | Some speed, _ -> Some speed
        | None, Some device -> measure device
        | None, None ->
            use device = new CudaDevice(CudaDeviceOptions gpu.Ordinal)
            measure device

    match found with
    | Some speed -> speed, measured gpu
    | None -> bySheet precision (GpuCards.ofGpu gpu)

let private onGpu gpu (speed, origin) = { Speed = speed; Origin = origin; Gpu = Some gpu; Foretell = onPaper gpu }

/// Measures a GPU anew.
let measure (device: CudaDevice) precision = GpuSpeed.measure device precision (kernels device.Information)

/// The card of a name, or the device that was asked for.
/// <exception cref="LegatoException">There is no such card, or no GPU.</exception>
let choose (card: string option) (device: ForetoldDevice option) precision =
    match card, device with
    | Some name, _ ->
        let card = GpuCards.find name
        onGpu card.Gpu (bySheet precision card)
    | None, Some ForetoldDevice.Cuda ->
        let gpu = CudaMachine.Gpu 0
        onGpu gpu (ofGpu precision None gpu)
    | None, _ -> ofProcessor ()

/// A device that is open.
let ofDevice (device: IDevice) precision =
    match device with
    | :? CudaDevice as gpu -> onGpu gpu.Information (ofGpu precision (Some gpu) gpu.Information)
    | _ -> { ofProcessor () with Foretell = DeviceChoice.foretell device }

/// What a plan costs there.
let report target plan =
    let working, launches = target.Foretell plan
    PlanReport.ofPlan target.Speed plan |> PlanReport.onDevice target.Speed working launches

/// What is to be said of a plan that the GPU has no memory for.
let shortage target (report: PlanReport) =
    match target.Gpu with
    | Some gpu when report.Memory.Peak > gpu.MemoryBytes ->
        Some $"it doesn't fit: {gpu.Name} has {Units.bytes gpu.MemoryBytes} of memory"
    | _ -> None
