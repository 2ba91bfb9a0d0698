// The features of a head lie inside it.
let attention c = layer "attn" {
    let! wk = weight "k" c.Embed (c.HeadDim ^* c.KvHeads)
    and! kv = cache "kv" c.Context c.KvHeads c.HeadDim
    return fun (x: Tensor<Batch * Seq, Embed>) -> kv.Append(x *@ wk, x *@ wk)
}
