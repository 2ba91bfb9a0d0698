/// From a flag's words to what the runtime takes: devices and precisions.
module Legato.Cli.DeviceChoice

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

/// Begins in the background what opening the device takes.
let prepare device =
    if device = Device.Cuda then
        CudaMachine.Prepare()

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

/// Bytes that the plan's kernels take on this device beside the plan's buffers, as far as it can tell beforehand.
let workingBytes (device: IDevice) (plan: Plan) =
    match device with
    | :? CpuDevice as processor -> processor.WorkingBytes plan
    | :? CudaDevice as gpu -> gpu.WorkingBytes plan
    | _ -> 0L

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
