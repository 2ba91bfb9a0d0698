/// Words that flags of several verbs choose among.
namespace Legato.Cli

/// Where kernels run.
[<RequireQualifiedAccess>]
type Device =
    | Cpu
    | Cuda
    | Interpreter

/// What a plan's time and memory can be foretold for.
[<RequireQualifiedAccess>]
type ForetoldDevice =
    | Cpu
    | Cuda

/// How wide values are stored, and for tf32 multiplied.
[<RequireQualifiedAccess>]
type Precision =
    | Fp32
    | Tf32
    | Bf16
    | Fp16

/// The types that files can hold weights in.
[<RequireQualifiedAccess>]
type StoredPrecision =
    | Fp32
    | Bf16
    | Fp16
    /// Eight bits an element, in blocks: GGUF's Q8_0.
    | Q8

/// Those of them that a folder of safetensors is written in.
[<RequireQualifiedAccess>]
type FolderPrecision =
    | Fp32
    | Bf16
    | Fp16

/// What training makes of text.
[<RequireQualifiedAccess>]
type TrainingObjective =
    | Causal
    | Masked
    | Spans
    | Denoise
    | Fim

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
