// The second matrix is declared the wrong way round.
let mlp c = layer "mlp" {
    let! up = weight "up" c.Embed c.Mlp
    and! down = weight "down" c.Embed c.Mlp
    return fun x -> silu (x *@ up) *@ down
}
