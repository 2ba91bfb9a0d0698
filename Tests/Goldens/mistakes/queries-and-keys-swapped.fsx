// attend takes the queries first.
let attention c = layer "attn" {
    let! wq = weight "q" c.Embed (c.Heads ^* c.HeadDim)
    and! wk = weight "k" c.Embed (c.KvHeads ^* c.HeadDim)
    and! wv = weight "v" c.Embed (c.KvHeads ^* c.HeadDim)
    and! wo = weight "o" (c.Heads ^* c.HeadDim) c.Embed
    and! kv = cache "kv" c.Context c.KvHeads c.HeadDim

    return
        fun x ->
            let k, v = kv.Append(x *@ wk, x *@ wv)
            attend causal k (x *@ wq) v *@ wo
}
