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
    /// Bytes that the plan's steps take beside its buffers.
    Working: Plan -> int64
}

let private ofProcessor () =
    let speed = SavedLimits.current ()

    let working plan =
        use device = DeviceChoice.openDevice Device.Cpu None true
        DeviceChoice.workingBytes device plan

    { Speed = speed.Device; Origin = speed.Origin; Working = working }

let private ofCard precision (card: GpuCards.Card) =
    let working plan =
        use device = CudaDevice.OnPaper card.Gpu
        device.WorkingBytes plan

    {
        Speed = GpuCards.speed precision card
        Origin = $"{card.Gpu.Name}, by its data sheet and what kernels reach of it on an H200"
        Working = working
    }

/// The card of a name, or the device that was asked for.
/// <exception cref="LegatoException">There is no such card, or no GPU.</exception>
let choose (card: string option) (device: Device option) precision =
    match card, device with
    | Some name, _ -> ofCard precision (GpuCards.find name)
    | None, Some Device.Cuda -> ofCard precision (GpuCards.ofGpu (CudaMachine.Gpu 0))
    | None, _ -> ofProcessor ()

/// A report on what runs on a device that is open.
let ofDevice (device: IDevice) precision =
    let speed =
        match device with
        | :? CudaDevice as gpu -> GpuCards.speed precision (GpuCards.ofGpu gpu.Information)
        | _ -> (SavedLimits.current ()).Device

    fun plan -> PlanReport.ofPlan speed plan |> PlanReport.withWorking (DeviceChoice.workingBytes device plan)
