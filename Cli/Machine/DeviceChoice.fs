/// From a flag's words to what the runtime takes: devices and precisions.
module Legato.Cli.DeviceChoice

open System
open System.Threading.Tasks
open Legato.Runtime
open Legato.Runtime.Cpu
open Legato.Runtime.Cuda
open Legato.Runtime.Devices
open Legato.Runtime.Interpreter
open Legato.Runtime.Plans

/// The device that was asked for; if none was, the GPU where there is one that Legato can use, else the processor.
let chosen (asked: Device option) =
    match asked with
    | Some device -> device
    | None when CudaMachine.IsUsable -> Device.Cuda
    | None -> Device.Cpu

let private openGpu () =
    try
        new CudaDevice()
    with :? LegatoException as error when not (isNull error.Remedy || error.Remedy.Contains "--device cpu") ->
        raise (LegatoException(error.What, error.Where, $"{error.Remedy}; or go without a GPU: --device cpu", error))

/// Makes the device ready. `threads` None: one a core.
let openDevice device (threads: int option) pin : IDevice =
    match device with
    | Device.Cpu -> new CpuDevice(CpuDeviceOptions(Option.toNullable threads, pin))
    | Device.Cuda -> openGpu ()
    | Device.Interpreter -> new InterpreterDevice()

/// A device that is opened in the background while other things are made ready.
type Opening internal (asked: Device option, threads, pin) =
    let opened = Task.Run(fun () -> openDevice (chosen asked) threads pin)

    /// <exception cref="LegatoException">It can't be opened.</exception>
    member _.Device = opened.GetAwaiter().GetResult()

    interface IDisposable with
        member _.Dispose() =
            let dispose (opened: Task<IDevice>) =
                if opened.IsCompletedSuccessfully then
                    opened.Result.Dispose()

            opened.ContinueWith(dispose, TaskContinuationOptions.ExecuteSynchronously) |> ignore

/// Begins to open the device that was asked for, or that there is.
let opening asked threads pin = new Opening(asked, threads, pin)

/// Bytes that the plan's kernels take on this device beside the plan's buffers, as far as it can tell beforehand, and a GPU's
/// launches.
let foretell (device: IDevice) (plan: Plan) =
    match device with
    | :? CpuDevice as processor -> processor.WorkingBytes plan, 0
    | :? CudaDevice as gpu ->
        let needs = gpu.Foretell plan
        needs.WorkingBytes, needs.Launches
    | _ -> 0L, 0

let precision choice =
    match choice with
    | Precision.Fp32 -> "fp32"
    | Precision.Tf32 -> "tf32"
    | Precision.Bf16 -> "bf16"
    | Precision.Fp16 -> "fp16"

let rematerialization choice =
    match choice with
    | Rematerialization.None -> Rematerialisation.None
    | Rematerialization.Block -> Rematerialisation.Block
