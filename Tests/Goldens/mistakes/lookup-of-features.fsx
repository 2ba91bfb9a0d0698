// The embedding is looked up with features, not with tokens.
let model c = layer "model" {
    let! tokens = embedding "tokens" c.Vocab c.Embed
    return fun (x: Tensor<Batch * Seq, Embed>) -> tokens.Lookup x
}
