// The heads are added to the residual stream as they are.
let block c attention = layer "block" {
    let! (attn: Tensor<Batch * Seq, Embed> -> Tensor<Batch * Seq, Heads * HeadDim>) = attention
    and! norm = rmsNorm "norm" c.Embed
    return fun x -> x + attn (norm x)
}
