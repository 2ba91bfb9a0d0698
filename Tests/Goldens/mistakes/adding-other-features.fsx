// The gate has the hidden features, x those of the stream.
let gated c = layer "mlp" {
    let! gate = weight "gate" c.Embed c.Mlp
    return fun (x: Tensor<Batch * Seq, Embed>) -> x + silu (x *@ gate)
}
