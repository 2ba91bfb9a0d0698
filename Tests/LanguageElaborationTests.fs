/// Mistakes that only sizes show: found while the graph is built, before anything is allocated.
module Legato.Tests.LanguageElaborationTests

open Legato.Dsl
open Legato.Tests.GraphSamples
open NUnit.Framework

let private calls = {
    Batch = Fixed 2L
    Sequence = Fixed 4L
    Context = Fixed 16L
    Source = None
    Dropout = 0.0
    IsCached = false
}

let private told name (calls: CallSizes) (body: unit -> Layer<Tokens -> Tensor<Batch * Seq, Vocab>>) =
    let message =
        try
            ModelDef.elaborate calls (model (body ())) |> ignore
            "no error"
        with ModelError(what, where, remedy) ->
            $"{what}\n  where: {where}\n  remedy: {remedy}"

    Assert.That(message, Is.Not.EqualTo "no error")
    Golden.hold $"elaboration/{name}.txt" message

let private over (c: Sizes) (inner: Layer<Tensor<Batch * Seq, Embed> -> Tensor<Batch * Seq, Embed>>) = layer "model" {
    let! tokens = embedding "tokens" c.Vocab c.Embed
    and! inner = inner
    return fun ids -> tokens.Lookup ids |> inner |> tokens.Unembed
}

[<Test>]
let ``one axis with two sizes names both parameters`` () =
    told "two-sizes" calls (fun () -> over sizes (feedForward { sizes with Embed = axis 12 }))

[<Test>]
let ``a parameter declared twice`` () =
    let twice = layer "mlp" {
        let! up = weight "up" sizes.Embed sizes.Mlp
        and! down = weight "up" sizes.Mlp sizes.Embed
        return fun x -> silu (x *@ up) *@ down
    }

    told "declared-twice" calls (fun () -> over sizes twice)

[<Test>]
let ``two layers of one name`` () =
    told "layer-twice" calls (fun () -> over sizes (feedForward sizes >=> feedForward sizes))

[<Test>]
let ``heads that can't share their key heads`` () =
    told "heads-not-divisible" calls (fun () -> over sizes (attention { sizes with KvHeads = axis 3 } causal))

[<Test>]
let ``a head of odd size can't be turned`` () =
    told "odd-head" calls (fun () -> over sizes (attention { sizes with HeadDim = axis 5 } causal))

[<Test>]
let ``a cache beyond the model's context`` () =
    told "cache-beyond-context" { calls with Context = Fixed 32L } (fun () -> over sizes (attention sizes causal))

[<Test>]
let ``a sequence beyond the cache`` () =
    told "sequence-beyond-cache" { calls with Sequence = Fixed 12L; Context = Fixed 8L } (fun () ->
        over sizes (attention sizes causal))

[<Test>]
let ``more experts chosen than there are`` () =
    told "too-many-experts" calls (fun () -> over sizes (routed sizes.Experts 4 (feedForward sizes)))

[<Test>]
let ``a name with a dot in it`` () =
    let dotted = layer "mlp" {
        let! up = weight "mlp.up" sizes.Embed sizes.Mlp
        and! down = weight "down" sizes.Mlp sizes.Embed
        return fun x -> silu (x *@ up) *@ down
    }

    told "name-with-dot" calls (fun () -> over sizes dotted)

[<Test>]
let ``an axis without elements`` () =
    told "empty-axis" calls (fun () -> over { sizes with Embed = axis 0 } (feedForward sizes))

[<Test>]
let ``a product of axes has no size of its own`` () =
    told "axis-of-a-product" calls (fun () ->
        let both: Axis<Heads * HeadDim> = axis 16

        over
            sizes
            (layer "mlp" {
                let! w = weight "w" both sizes.Embed in

                return
                    fun x ->
                        ignore w
                        x
            }))

[<Test>]
let ``a head over another vocabulary`` () =
    told "other-vocabulary" calls (fun () -> over { sizes with Vocab = axis 12 } (feedForward sizes))

[<Test>]
let ``a stack of the axis that is already inside`` () =
    told "stack-twice" calls (fun () ->
        over sizes (stack sizes.Layers (layer "a" { let! s = stack sizes.Layers (feedForward sizes) in return s })))
