// A model of your own, on a page: a LLaMA-like decoder, trained on any text, then speaking.
//
//     dotnet fsi build.fsx build
//     dotnet fsi Models/shakespeare.fsx train --data FILE --out runs/shakespeare
//     dotnet fsi Models/shakespeare.fsx generate runs/shakespeare --prompt "ROMEO:"
//
// The #r lines name the assemblies that the build made, from where this file lies: a copy elsewhere needs their full paths.

#r "../Cli/bin/Release/net10.0/Legato.Dsl.dll"
#r "../Cli/bin/Release/net10.0/legato.dll"

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
    Rope: Rope
}

let attention c = layer "attn" {
    let! wq = weight "q" c.Embed (c.Heads ^* c.HeadDim)
    and! wk = weight "k" c.Embed (c.KvHeads ^* c.HeadDim)
    and! wv = weight "v" c.Embed (c.KvHeads ^* c.HeadDim)
    and! wo = weight "o" (c.Heads ^* c.HeadDim) c.Embed
    and! kv = cache "kv" c.Context c.KvHeads c.HeadDim

    return
        fun x ->
            let k, v = kv.Append(rope c.Rope (x *@ wk), x *@ wv)
            attend causal (rope c.Rope (x *@ wq)) k v *@ wo
}

let swiglu c = layer "mlp" {
    let! gate = weight "gate" c.Embed c.Mlp
    and! up = weight "up" c.Embed c.Mlp
    and! down = weight "down" c.Mlp c.Embed
    return fun x -> (silu (x *@ gate) * (x *@ up)) *@ down
}

let block c = layer "block" {
    let! attn = attention c
    and! mlp = swiglu c
    and! n1 = rmsNorm "attn_norm" c.Embed
    and! n2 = rmsNorm "mlp_norm" c.Embed
    return fun x -> let h = x + attn (n1 x) in h + mlp (n2 h)
}

let decoder c = layer "model" {
    let! tokens = embedding "tokens" c.Vocab c.Embed
    and! blocks = stack c.Layers (block c)
    and! norm = rmsNorm "norm" c.Embed
    return fun ids -> tokens.Lookup ids |> blocks |> norm |> tokens.Unembed
}

/// The model for a tokenizer of so many tokens.
let shakespeare vocabulary =
    let c = {
        Vocab = axis vocabulary
        Context = axis 128
        Layers = axis 4
        Embed = axis 128
        Heads = axis 4
        KvHeads = axis 2
        HeadDim = axis 32
        Mlp = axis 384
        Rope = Rope.ofTheta 10000.0
    }

    ModelDef.create "shakespeare" c.Vocab c.Context (decoder c)

Legato.Script.run shakespeare
