// The experts come before how many of them are chosen.
let moe c (mlp: Layer<Tensor<Batch * Seq, Embed> -> Tensor<Batch * Seq, Embed>>) = routed 2 c.Experts mlp
