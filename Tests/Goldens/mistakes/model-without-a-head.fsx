// The model ends before its output head.
let body c = layer "model" {
    let! tokens = embedding "tokens" c.Vocab c.Embed
    return fun ids -> tokens.Lookup ids
}

let model c = ModelDef.create "headless" c.Vocab c.Context (body c)
