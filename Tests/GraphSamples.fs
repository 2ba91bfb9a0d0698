/// Graphs that several tests look at: one of every kind of node, nested loops, a small decoder.
module Legato.Tests.GraphSamples

open Legato.Dsl
open Legato.Tests.GraphValues

let private a, b = dim "A" 2, dim "B" 4

/// Every kind of node at least once.
let everyKind () : (string * Node) list =
    let x = floats "x" [ a; b ]
    let index = integers "index" [ dim "S" 3 ]

    let parameter =
        Node.make (Op.Param({ Path = "block.gain"; Initializer = Normal 0.02; Decays = true }, [ b ])) []

    let wave = Node.make (Op.ConstVector([ 1.0; 0.5; 0.25; -3e-10 ], b)) []
    let scaled = Node.map (Arg 0 * Arg 1 + Num 0.5 * Un(Exp, Arg 2)) [ x; parameter; wave ]
    let rows = Node.gather "B" scaled index
    let square = Node.contract [ "B" ] scaled (Node.rename [ "A", "A'" ] scaled)
    let pairs = Node.split "B" (dim "Outer" 2) (dim "Inner" 2) scaled
    let moved = Node.merge "Outer" "Inner" "B" pairs |> Node.slice "B" 1L 2L |> Node.pad "B" 0L 4L
    let scattered = Node.make (Op.ScatterAdd "B") [ Node.broadcast [ a; b ] (Node.number 0.0); index; rows ]
    let top = Node.make (Op.TopK("B", dim "Rank" 2)) [ scattered ]
    let batch, context = dim "Batch" 2, dim "Context" 8
    let state = Node.make (Op.State("cache_k", [ batch; context ])) []
    let sequence = { Name = "Seq"; Size = Dynamic "sequence" }
    let past = Node.input "past" [ batch ] Integer
    let value = Node.map1 (fun p -> Un(ToFloat, p)) (Node.add past (Node.iota sequence))
    let appended = Node.make (Op.Append("Context", "Seq")) [ state; value; past ]

    [
        "moved", Node.add moved scaled
        "square", square
        "peak", Node.reduce Maximum [ "A"; "B" ] scattered
        "scores", Node.item 0 top
        "places", Node.item 1 top
        "keys", appended
    ]

/// A loop within a loop: captures, slices, stacked results, the inner one from its end.
let nestedLoops () : (string * Node) list =
    let outer, inner = dim "Layers" 2, dim "Steps" 3

    let start, weights, gain =
        floats "start" [ b ], floats "weights" [ outer; b ], floats "gain" [ inner; b ]

    let carry, weight = Node.placeholder "carry" [ b ] Float, Node.placeholder "slice" [ b ] Float
    let state, factor = Node.placeholder "carry" [ b ] Float, Node.placeholder "slice" [ b ] Float
    let next = Node.add (Node.mul state factor) (Node.mul weight (Node.number 0.5))

    let loop =
        Node.scan inner true [ state, carry ] [ factor, gain ] [ next ] [ Node.reduce Sum [ "B" ] next ]

    let result = Node.add (Node.item 0 loop) carry
    let whole = Node.scan outer false [ carry, start ] [ weight, weights ] [ result ] [ Node.item 1 loop ]
    [ "end", Node.item 0 whole; "sums", Node.item 1 whole ]

type Sizes = {
    Vocab: Axis<Vocab>
    Context: Axis<Context>
    Layers: Axis<Layers>
    Embed: Axis<Embed>
    Heads: Axis<Heads>
    KvHeads: Axis<KvHeads>
    HeadDim: Axis<HeadDim>
    Mlp: Axis<Mlp>
    Experts: Axis<Expert>
}

let sizes = {
    Vocab = axis 11
    Context = axis 16
    Layers = axis 2
    Embed = axis 8
    Heads = axis 4
    KvHeads = axis 2
    HeadDim = axis 4
    Mlp = axis 6
    Experts = axis 3
}

let private turns = Rope.ofTheta 10000.0

let attention (c: Sizes) mask = layer "attn" {
    let! wq = weight "q" c.Embed (c.Heads ^* c.HeadDim)
    and! wk = weight "k" c.Embed (c.KvHeads ^* c.HeadDim)
    and! wv = weight "v" c.Embed (c.KvHeads ^* c.HeadDim)
    and! wo = weight "o" (c.Heads ^* c.HeadDim) c.Embed
    and! kv = cache "kv" c.Context c.KvHeads c.HeadDim

    return
        fun x ->
            let k, v = kv.Append(rope turns (x *@ wk), x *@ wv)
            attend mask (rope turns (x *@ wq)) k v *@ wo
}

let feedForward (c: Sizes) = layer "mlp" {
    let! up = weight "up" c.Embed c.Mlp
    and! down = weight "down" c.Mlp c.Embed
    return fun x -> geluTanh (x *@ up) *@ down
}

let private block (c: Sizes) mask = layer "block" {
    let! attn = attention c mask
    and! mlp = layer "moe" { let! f = routed c.Experts 2 (feedForward c) in return f }
    and! n1 = rmsNorm "attn_norm" c.Embed
    and! n2 = layerNorm "mlp_norm" c.Embed
    return fun x -> let h = x + attn (n1 x) in h + mlp (n2 h)
}

let decoderOf mask (c: Sizes) = layer "model" {
    let! tokens = embedding "tokens" c.Vocab c.Embed
    and! blocks = stack c.Layers (block c mask)
    return fun ids -> tokens.Lookup ids |> blocks |> tokens.Unembed
}

let decoder = decoderOf (causal &&& window 5)

let model body = ModelDef.create "sample" sizes.Vocab sizes.Context body

/// The decoder's logits and its caches after the call.
let smallDecoder () : (string * Node) list =
    let calls = {
        Batch = Fixed 2L
        Sequence = Dynamic "sequence"
        Context = Fixed 16L
        Source = None
        Dropout = 0.0
        IsCached = false
    }

    let call = ModelDef.elaborate calls (model (decoder sizes))

    ("logits", call.Logits)
    :: [ for i, (_, updated) in List.indexed call.Updates -> $"update {i}", updated ]
