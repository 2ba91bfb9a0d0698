// The norm is over the hidden features, its input has those of the stream.
let block c mlp = layer "block" {
    let! (mlp: Tensor<Batch * Seq, Embed> -> Tensor<Batch * Seq, Embed>) = mlp
    and! norm = rmsNorm "norm" c.Mlp
    return fun x -> x + mlp (norm x)
}
