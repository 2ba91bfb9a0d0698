// A size alone doesn't say which axis it is of.
let mlp c = layer "mlp" {
    let! up = weight "up" 768 c.Mlp
    return fun (x: Tensor<Batch * Seq, Embed>) -> x *@ up
}
