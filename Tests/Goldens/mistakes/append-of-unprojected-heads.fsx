// Keys and values must be projected to the key heads first.
let attention c = layer "attn" {
    let! kv = cache "kv" c.Context c.KvHeads c.HeadDim
    return fun (x: Tensor<Batch * Seq, Embed>) -> kv.Append(x, x)
}
