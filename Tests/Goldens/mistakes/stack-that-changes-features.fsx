// A layer in a stack must give what it takes.
let up c = layer "up" {
    let! w = weight "w" c.Embed c.Mlp
    return fun (x: Tensor<Batch * Seq, Embed>) -> x *@ w
}

let model c = stack c.Layers (up c)
