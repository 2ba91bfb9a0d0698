/// Layers that many families are built from.
module Legato.Models.Blocks

open Legato.Dsl

type Norm =
    | RmsNorm
    /// The gain counts from 1 (Gemma).
    | RmsNormOffset
    | LayerNorm
    /// A gain and no bias.
    | LayerNormUnbiased

let norm kind epsilon name (feature: Axis<'Feat>) : Layer<Tensor<'Pos, 'Feat> -> Tensor<'Pos, 'Feat>> =
    match kind with
    | RmsNorm -> rmsNormOf epsilon name feature
    | RmsNormOffset -> rmsNormOffset epsilon name feature
    | LayerNorm -> layerNormOf epsilon name feature
    | LayerNormUnbiased -> layerNormUnbiased epsilon name feature

/// A layer, or the identity without parameters.
let optional isThere (f: Layer<Tensor<'Pos, 'Feat> -> Tensor<'Pos, 'Feat>>) = if isThere then f else Layer.value id

/// A matrix, and a bias where there is one.
let linear
    biased
    deviation
    name
    (input: Axis<'In>)
    (output: Axis<'Out>)
    : Layer<Tensor<'Pos, 'In> -> Tensor<'Pos, 'Out>> =
    if biased then
        layer name {
            let! w = weightOf (Normal deviation) "weight" input output
            and! b = bias "bias" output
            return fun x -> x *@ w + b
        }
    else
        weightOf (Normal deviation) name input output |> Layer.map (fun w x -> x *@ w)

/// How norms stand around a block's two parts, attention and feed-forward.
type Order =
    /// x + part(norm x)
    | PreNorm
    /// norm(x + part x) (Vaswani et al. 2017)
    | PostNorm
    /// x + norm(part x) (OLMo 2)
    | OutputNorm
    /// x + norm(part(norm x)) (Gemma 2, GLM 4)
    | SandwichNorm
    /// x + attention(norm x) + feedForward(norm x), one norm for both (GPT-J)
    | Parallel
    /// x + attention(norm x) + feedForward(another norm x) (GPT-NeoX)
    | ParallelNorms

/// Attention and feed-forward around a residual stream. `norm` makes a norm of a name; `scale` weighs what is added.
let around
    order
    (scale: float)
    (norm: string -> Layer<Tensor<'Pos, 'Feat> -> Tensor<'Pos, 'Feat>>)
    (attention: Layer<Tensor<'Pos, 'Feat> -> Tensor<'Pos, 'Feat>>)
    (feedForward: Layer<Tensor<'Pos, 'Feat> -> Tensor<'Pos, 'Feat>>)
    =
    let before = order <> PostNorm && order <> OutputNorm
    let after = order = PostNorm || order = OutputNorm || order = SandwichNorm
    let isParallel = order = Parallel || order = ParallelNorms
    let afterName name = if order = SandwichNorm then "post_" + name else name

    layer "layers" {
        let! attention = attention
        and! feedForward = feedForward
        and! n1 = optional before (norm "attn_norm")
        and! n2 = optional (before && order <> Parallel) (norm "mlp_norm")
        and! p1 = optional after (norm (afterName "attn_norm"))
        and! p2 = optional after (norm (afterName "mlp_norm"))
        and! drop1 = dropout "attn"
        and! drop2 = dropout "mlp"
        let attention, feedForward = attention >> drop1, feedForward >> drop2

        let add (part: Tensor<'Pos, 'Feat> -> Tensor<'Pos, 'Feat>) n p x =
            if order = PostNorm then p (x + part x * scale) else x + p (part (n x)) * scale

        return
            fun x ->
                if isParallel then
                    let normed = n1 x
                    x + attention normed * scale + feedForward (if order = Parallel then normed else n2 x) * scale
                else
                    x |> add attention n1 p1 |> add feedForward n2 p2
    }

/// gpt-oss's gate: its sigmoid steeper by the slope, both sides kept within the limit, the gated one counted from −1.
type Clamp = { Limit: float; Slope: float }

/// The feed-forward of a block: a function between two matrices, or gated (Shazeer 2020), SwiGLU where it is SiLU.
type FeedForward = {
    Gated: bool
    /// Of a gate, in the activation's place.
    Clamp: Clamp option
    Biased: bool
    Activation: Activation
    Deviation: float
    Projection: float
}

let private gated c (gate: Tensor<'Pos, 'Mlp>) (up: Tensor<'Pos, 'Mlp>) =
    match c.Clamp with
    | None -> activate c.Activation gate * up
    | Some clamp ->
        let gate = atMost clamp.Limit gate
        let open' = gate * sigmoid (gate * clamp.Slope)
        open' * (up |> atMost clamp.Limit |> atLeast -clamp.Limit) + open'

let feedForward (c: FeedForward) (embed: Axis<Embed>) (mlp: Axis<'Mlp>) = layer "mlp" {
    let! gate =
        if c.Gated then
            linear c.Biased c.Deviation "gate" embed mlp |> Layer.map Some
        else
            Layer.value None

    and! up = linear c.Biased c.Deviation "up" embed mlp
    and! down = linear c.Biased c.Projection "down" mlp embed

    return
        fun x ->
            match gate with
            | Some gate -> gated c (gate x) (up x) |> down
            | None -> up x |> activate c.Activation |> down
}
