// Rotary positions turn the features of heads; here there are heads alone.
let attention c = layer "attn" {
    let! wq = weight "q" c.Embed c.Heads
    return fun (x: Tensor<Batch * Seq, Embed>) -> rope turns (x *@ wq)
}
