/// How far off a result of `legato verify` may be, by the type that it was computed in.
module Legato.Cli.VerifyTolerance

open System
open System.Runtime.InteropServices
open Legato.Runtime.Checkpoints

/// Of single logits, where everything is float32.
let ofLogits = 1e-4

/// The bits of a value's fraction in the type that it is held or multiplied in; None in float32, whose records are float32's own.
let private fractionBits precision =
    match precision with
    | Precision.Fp32 -> None
    | Precision.Bf16 -> Some 7
    | Precision.Tf32
    | Precision.Fp16 -> Some 10

let isNarrow precision = (fractionBits precision).IsSome

let private rounded bits (value: float32) =
    let dropped = 23 - bits
    let word = BitConverter.SingleToUInt32Bits value
    let half = (1u <<< (dropped - 1)) - 1u + ((word >>> dropped) &&& 1u)
    BitConverter.UInt32BitsToSingle((word + half) >>> dropped <<< dropped)

/// Rounds weights that lie in float32 to what the narrow type holds of them.
let roundWeights precision (weights: ParameterMemory) =
    let bits = (fractionBits precision).Value
    let values = Array.zeroCreate<float32>(int (weights.Memory.Bytes / 4L))
    weights.Memory.Read(0L, MemoryMarshal.AsBytes(Span values))
    weights.Memory.Write(0L, MemoryMarshal.AsBytes(ReadOnlySpan(Array.map (rounded bits) values)))

/// What a model makes of rounding differs from one to the next, so that it is measured: by how much rounding the weights alone moves
/// a result that is otherwise computed in float32. In the narrow type four roundings of that kind come together at each
/// product: of its weights, of what they multiply, of the result, and of what is made of it. Independent errors add up to
/// twice one of them; as much again is left to chance, since the errors of few rows are no average.
let ofRounding (movedByWeights: float) = 4.0 * movedByWeights

/// The largest relative difference of a training run's losses, and the least that is allowed of its gradient norms: in a narrow type a curve is another
/// computation; it must stay close all the same.
let ofCurve precision =
    match precision with
    | Precision.Bf16
    | Precision.Fp16 -> 2e-2
    | Precision.Fp32
    | Precision.Tf32 -> 1e-3
