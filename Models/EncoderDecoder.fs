/// The transformer with an encoder and a decoder (Vaswani et al. 2017), and the choices in which its families differ.
module Legato.Models.EncoderDecoder

open Legato.Dsl
open Legato.Models.Blocks

/// Buckets of distances.
type Bucket = interface end

type Positions =
    /// Added to the tokens, from tables whose first rows are not used.
    | LearnedFrom of skipped: int
    | Sinusoidal
    /// A bias on the scores of each text with itself, shared by its layers.
    | Relative of Axis<Bucket> * farthest: int

type Config = {
    Vocab: Axis<Vocab>
    Context: Axis<Context>
    Layers: Axis<Layers>
    DecoderLayers: Axis<Layers>
    Embed: Axis<Embed>
    Heads: Axis<Heads>
    HeadDim: Axis<HeadDim>
    Mlp: Axis<Mlp>
    Norm: Norm
    Epsilon: float
    /// Norms stand before the parts, and behind the last layer; else behind each part.
    IsPreNorm: bool
    EmbedNorm: bool
    Positions: Positions
    /// What a score is multiplied by.
    Scale: float
    /// Matrices of attention have biases.
    Biased: bool
    EmbedScale: float
    LogitScale: float
    Tied: bool
    FeedForward: FeedForward
}

let private norm c name = Blocks.norm c.Norm c.Epsilon name c.Embed

let private dense c name (input: Axis<'In>) (output: Axis<'Out>) =
    linear c.Biased c.FeedForward.Deviation name input output

let private toHeads c name = dense c name c.Embed (c.Heads ^* c.HeadDim)
let private fromHeads c = dense c "o" (c.Heads ^* c.HeadDim) c.Embed

let private sourceAttention c mask = layer "attn" {
    let! q = toHeads c "q"
    and! k = toHeads c "k"
    and! v = toHeads c "v"
    and! o = fromHeads c

    return
        fun (x: Tensor<Batch * Source, Embed>) ->
            let keys, values = asPositions<Source, Memory, _, _>(k x), asPositions<Source, Memory, _, _>(v x)
            attendAcross c.Scale mask (q x) keys values |> o
}

let private attention c mask = layer "attn" {
    let! q = toHeads c "q"
    and! k = toHeads c "k"
    and! v = toHeads c "v"
    and! o = fromHeads c
    and! kv = cache "kv" c.Context c.Heads c.HeadDim

    return
        fun (x: Tensor<Batch * Seq, Embed>) ->
            let keys, values = kv.Append(k x, v x)
            attendScaled c.Scale mask (q x) keys values |> o
}

let private crossAttention c mask (memory: Tensor<Batch * Source, Embed>) = layer "cross" {
    let! q = toHeads c "q"
    and! k = toHeads c "k"
    and! v = toHeads c "v"
    and! o = fromHeads c
    and! kv = sourceCache "kv" c.Heads c.HeadDim

    return
        fun (x: Tensor<Batch * Seq, Embed>) ->
            let keys, values = kv.Append(k memory, v memory)
            attendAcross c.Scale mask (q x) keys values |> o
}

let private mlp c = feedForward c.FeedForward c.Embed c.Mlp

let private encoderBlock c mask =
    around (if c.IsPreNorm then PreNorm else PostNorm) 1.0 (norm c) (sourceAttention c mask) (mlp c)

let private decoderBlock c mask crossMask memory = layer "layers" {
    let! attention = attention c mask
    and! cross = crossAttention c crossMask memory
    and! mlp = mlp c
    and! n1 = norm c "attn_norm"
    and! n2 = norm c "cross_norm"
    and! n3 = norm c "mlp_norm"
    and! drop1 = dropout "attn"
    and! drop2 = dropout "cross"
    and! drop3 = dropout "mlp"

    let step norm part drop (x: Tensor<Batch * Seq, Embed>) =
        if c.IsPreNorm then x + drop (part (norm x)) else norm (x + drop (part x))

    return step n1 attention drop1 >> step n2 cross drop2 >> step n3 mlp drop3
}

/// What positions add to a text's embeddings.
let private places c : Layer<Tensor<'Pos, unit> -> Tensor<'Pos, Embed> -> Tensor<'Pos, Embed>> =
    match c.Positions with
    | Relative _ -> Layer.value (fun _ x -> x)
    | Sinusoidal -> Layer.value (fun positions x -> x + sinusoids c.Embed positions)
    | LearnedFrom skipped ->
        embeddingOf (Normal c.FeedForward.Deviation) "positions" (axis<Context>(c.Context.Size + skipped)) c.Embed
        |> Layer.map (fun table positions x -> x + table.Lookup(shifted skipped positions))

/// What positions do to the scores of a text with itself.
let private bias c isCausal : Layer<Tensor<'Q, unit> -> Tensor<'K, unit> -> Mask> =
    match c.Positions with
    | LearnedFrom _
    | Sinusoidal -> Layer.value (fun _ _ -> everything)
    | Relative(buckets, farthest) ->
        embeddingOf (Normal c.FeedForward.Deviation) "relative" buckets c.Heads
        |> Layer.map (fun table queries keys -> relativeBias table isCausal farthest queries keys)

let private encoder c (tokens: Embedding<Vocab, Embed>) (source: SourceText) = layer "encoder" {
    let! bias = bias c false
    and! places = places c
    and! first = optional c.EmbedNorm (norm c "embed_norm")
    let positions = sourcePositions source.Tokens
    let mask = within source.Lengths + bias positions (asPositions<Source, Memory, _, _> positions)
    let! blocks = stack c.Layers (encoderBlock c mask)
    and! last = optional c.IsPreNorm (norm c "norm")
    and! drop = dropout "tokens"

    return tokens.Lookup source.Tokens * c.EmbedScale |> places positions |> first |> drop |> blocks |> last
}

let private decoder c (tokens: Embedding<Vocab, Embed>) (source: SourceText) memory = layer "decoder" {
    let! bias = bias c true
    and! places = places c
    and! first = optional c.EmbedNorm (norm c "embed_norm")
    and! asking = callPositions
    and! seen = contextPositions

    let! blocks =
        stack c.DecoderLayers (decoderBlock c (causal + bias asking seen) (within source.Lengths) memory)

    and! last = optional c.IsPreNorm (norm c "norm")
    and! drop = dropout "tokens"
    return fun (ids: Tokens) -> tokens.Lookup ids * c.EmbedScale |> places asking |> first |> drop |> blocks |> last
}

let private head c (tokens: Embedding<Vocab, Embed>) =
    if c.Tied then
        Layer.value tokens.Unembed
    else
        linear false c.FeedForward.Deviation "head" c.Embed c.Vocab

let transformer c = layer "model" {
    let! source = source
    and! tokens = embeddingOf (Normal c.FeedForward.Deviation) "tokens" c.Vocab c.Embed
    let! memory = encoder c tokens source
    let! decode = decoder c tokens source memory
    let! head = head c tokens
    return fun ids -> head (decode ids * c.LogitScale)
}

/// A family's model; its text starts with the config's decoder_start_token_id.
let model modelType json table c = {
    Family.model modelType json c.Vocab c.Context (transformer c) table with
        Task = SequenceToSequence
        BeginToken = Config.tryInt [ "decoder_start_token_id" ] json
}
