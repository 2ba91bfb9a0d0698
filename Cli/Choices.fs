/// Words that flags of several verbs choose among.
namespace Legato.Cli

open Legato.Runtime.Cpu
open Legato.Runtime.Devices
open Legato.Runtime.Interpreter

/// Where kernels run.
[<RequireQualifiedAccess>]
type Device =
    | Cpu
    | Interpreter

[<RequireQualifiedAccess>]
module Device =
    let name device =
        match device with
        | Device.Cpu -> "cpu"
        | Device.Interpreter -> "interpreter"

    let create device : IDevice =
        match device with
        | Device.Cpu -> new CpuDevice()
        | Device.Interpreter -> new InterpreterDevice()

/// The type that weights are stored in.
[<RequireQualifiedAccess>]
type Precision =
    | Fp32
    | Bf16
    | Fp16

[<RequireQualifiedAccess>]
module Precision =
    /// As plans call it.
    let name precision =
        match precision with
        | Precision.Fp32 -> "fp32"
        | Precision.Bf16 -> "bf16"
        | Precision.Fp16 -> "fp16"

/// The types that training can store weights in.
[<RequireQualifiedAccess>]
type TrainingPrecision = | Fp32

/// What the backward pass computes again instead of keeping it.
[<RequireQualifiedAccess>]
type Rematerialization =
    | None
    | Block

/// The learning rate's way after the warm-up.
[<RequireQualifiedAccess>]
type Schedule =
    | Cosine
    | Linear
    | Wsd
    | Constant
