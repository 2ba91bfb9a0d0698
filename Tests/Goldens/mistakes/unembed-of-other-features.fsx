// The head's input has the hidden features.
let model c = layer "model" {
    let! tokens = embedding "tokens" c.Vocab c.Embed
    and! up = weight "up" c.Embed c.Mlp
    return fun ids -> tokens.Unembed(tokens.Lookup ids *@ up)
}
