/// Words that flags of several verbs choose among.
namespace Legato.Cli

/// Where kernels run.
[<RequireQualifiedAccess>]
type Device =
    | Cpu
    | Interpreter

/// The type that weights are stored in.
[<RequireQualifiedAccess>]
type Precision =
    | Fp32
    | Bf16
    | Fp16

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
