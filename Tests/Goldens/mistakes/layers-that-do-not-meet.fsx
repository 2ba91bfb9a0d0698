// The first layer ends in hidden features, the second begins with those of the stream.
let up c = layer "up" {
    let! w = weight "w" c.Embed c.Mlp
    return fun (x: Tensor<Batch * Seq, Embed>) -> x *@ w
}

let model c = up c >=> up c
