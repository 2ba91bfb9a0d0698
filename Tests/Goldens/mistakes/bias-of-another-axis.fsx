// The bias is added to the hidden features.
let mlp c = layer "mlp" {
    let! up = weight "up" c.Embed c.Mlp
    and! b = bias "up_bias" c.Embed
    return fun x -> gelu (x *@ up + b)
}
