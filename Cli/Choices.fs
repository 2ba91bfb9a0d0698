/// Words that flags of several verbs choose among.
namespace Legato.Cli

/// Where kernels run.
[<RequireQualifiedAccess>]
type Device =
    | Cpu
    | Cuda
    | Interpreter

/// How wide values are stored, and for tf32 multiplied.
[<RequireQualifiedAccess>]
type Precision =
    | Fp32
    | Tf32
    | Bf16
    | Fp16

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
