open Legato.Dsl

type Config = {
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

let turns = Rope.ofTheta 10000.0
