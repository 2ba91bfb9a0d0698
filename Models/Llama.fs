/// LLaMA (Touvron et al. 2023; Grattafiori et al. 2024): RMSNorm before each part, rotary positions, grouped-query
/// attention, a SwiGLU feed-forward.
module Legato.Models.Llama

open System.Text.Json.Nodes
open Legato.Dsl

type Config =
    { Vocab: Axis<Vocab>
      Context: Axis<Context>
      Layers: Axis<Layers>
      Embed: Axis<Embed>
      Heads: Axis<Heads>
      KvHeads: Axis<KvHeads>
      HeadDim: Axis<HeadDim>
      Mlp: Axis<Mlp>
      Rope: Rope
      Epsilon: float
      Tied: bool
      Deviation: float }

let private matrix c = weightOf (Normal c.Deviation)

let attention c mask = layer "attn" {
    let! wq = matrix c "q" c.Embed (c.Heads ^* c.HeadDim)
    and! wk = matrix c "k" c.Embed (c.KvHeads ^* c.HeadDim)
    and! wv = matrix c "v" c.Embed (c.KvHeads ^* c.HeadDim)
    and! wo = matrix c "o" (c.Heads ^* c.HeadDim) c.Embed
    and! kv = cache "kv" c.Context c.KvHeads c.HeadDim
    return fun x ->
        let k, v = kv.Append(rope c.Rope (x *@ wk), x *@ wv)
        attend mask (rope c.Rope (x *@ wq)) k v *@ wo }

let swiglu c = layer "mlp" {
    let! gate = matrix c "gate" c.Embed c.Mlp
    and! up   = matrix c "up"   c.Embed c.Mlp
    and! down = matrix c "down" c.Mlp   c.Embed
    return fun x -> (silu (x *@ gate) * (x *@ up)) *@ down }

let block c = layer "layers" {
    let! attn = attention c causal
    and! mlp  = swiglu c
    and! n1   = rmsNormOf c.Epsilon "attn_norm" c.Embed
    and! n2   = rmsNormOf c.Epsilon "mlp_norm" c.Embed
    return fun x -> let h = x + attn (n1 x) in h + mlp (n2 h) }

let private head c (tokens: Embedding<Vocab, Embed>) =
    if c.Tied then Layer.value tokens.Unembed
    else layer "head" {
        let! w = matrix c "weight" c.Embed c.Vocab
        return fun x -> x *@ w }

let decoder c = layer "model" {
    let! tokens = embeddingOf (Normal c.Deviation) "tokens" c.Vocab c.Embed
    and! blocks = stack c.Layers (block c)
    and! norm   = rmsNormOf c.Epsilon "norm" c.Embed
    let! head   = head c tokens
    return fun ids -> tokens.Lookup ids |> blocks |> norm |> head }
