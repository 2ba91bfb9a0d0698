// The call's own keys are not the context's.
let attention c = layer "attn" {
    let! wq = weight "q" c.Embed (c.Heads ^* c.HeadDim)
    and! wk = weight "k" c.Embed (c.KvHeads ^* c.HeadDim)
    and! wv = weight "v" c.Embed (c.KvHeads ^* c.HeadDim)
    return fun (x: Tensor<Batch * Seq, Embed>) -> attend causal (x *@ wq) (x *@ wk) (x *@ wv)
}
