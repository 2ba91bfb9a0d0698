// The cache holds key heads, of which there are fewer than heads.
let attention c = layer "attn" {
    let! wk = weight "k" c.Embed (c.Heads ^* c.HeadDim)
    and! kv = cache "kv" c.Context c.KvHeads c.HeadDim
    return fun (x: Tensor<Batch * Seq, Embed>) -> kv.Append(x *@ wk, x *@ wk)
}
