// A layer ends in return.
let mlp c = layer "mlp" {
    let! up = weight "up" c.Embed c.Mlp
    fun (x: Tensor<Batch * Seq, Embed>) -> x *@ up
}
