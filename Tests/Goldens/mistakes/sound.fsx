// Nothing is wrong here: the snippets beside it fail by their mistake alone.
let attention (c: Config) = layer "attn" {
    let! wq = weight "q" c.Embed (c.Heads ^* c.HeadDim)
    and! wk = weight "k" c.Embed (c.KvHeads ^* c.HeadDim)
    and! wv = weight "v" c.Embed (c.KvHeads ^* c.HeadDim)
    and! wo = weight "o" (c.Heads ^* c.HeadDim) c.Embed
    and! kv = cache "kv" c.Context c.KvHeads c.HeadDim

    return
        fun x ->
            let k, v = kv.Append(rope turns (x *@ wk), x *@ wv)
            attend (causal &&& window 128) (rope turns (x *@ wq)) k v *@ wo
}

let mlp (c: Config) = layer "mlp" {
    let! up = weight "up" c.Embed c.Mlp
    and! b = bias "up_bias" c.Mlp
    and! down = weight "down" c.Mlp c.Embed
    return fun x -> gelu (x *@ up + b) *@ down
}

let block (c: Config) = layer "block" {
    let! attn = attention c
    and! mlp = routed c.Experts 2 (mlp c)
    and! n1 = rmsNorm "attn_norm" c.Embed
    and! n2 = layerNorm "mlp_norm" c.Embed
    return fun x -> let h = x + attn (n1 x) in h + mlp (n2 h)
}

let body (c: Config) = layer "model" {
    let! tokens = embedding "tokens" c.Vocab c.Embed
    and! blocks = stack c.Layers (block c)
    return fun ids -> tokens.Lookup ids |> blocks |> tokens.Unembed
}

let model (c: Config) = ModelDef.create "sound" c.Vocab c.Context (body c)
let placement = [ on<Batch> Data; on<Heads> TensorParallel; on<Expert> ExpertParallel ]
