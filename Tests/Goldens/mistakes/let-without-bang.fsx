// A parameter is bound with let!.
let mlp c = layer "mlp" {
    let up = weight "up" c.Embed c.Mlp
    return fun (x: Tensor<Batch * Seq, Embed>) -> x *@ up
}
