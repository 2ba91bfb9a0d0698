/// The encoder-only transformer of BERT's kind (Devlin et al. 2019): each position sees the whole text, LayerNorm behind
/// each part, learned positions. All of a text is its first segment.
module Legato.Models.Encoder

open Legato.Dsl
open Legato.Models.Blocks

/// Classes that a head on top scores.
type Class = interface end
/// Kinds of segment of a text.
type Segment = interface end

type Config = {
    Vocab: Axis<Vocab>
    Context: Axis<Context>
    Layers: Axis<Layers>
    Embed: Axis<Embed>
    Heads: Axis<Heads>
    HeadDim: Axis<HeadDim>
    Mlp: Axis<Mlp>
    Segments: Axis<Segment>
    /// Rows of the table of positions before the first position's.
    FirstPosition: int
    /// The token that fills up the shorter texts of a call: no position sees it.
    Padding: int option
    Epsilon: float
    FeedForward: FeedForward
}

let private dense c name input output = linear true c.FeedForward.Deviation name input output
let private norm c name feature = layerNormOf c.Epsilon name feature

let attention c mask = layer "attn" {
    let! q = dense c "q" c.Embed (c.Heads ^* c.HeadDim)
    and! k = dense c "k" c.Embed (c.Heads ^* c.HeadDim)
    and! v = dense c "v" c.Embed (c.Heads ^* c.HeadDim)
    and! o = dense c "o" (c.Heads ^* c.HeadDim) c.Embed
    let scale = 1.0 / sqrt (float c.HeadDim.Size)

    return
        fun (x: Tensor<Batch * Seq, Embed>) ->
            let keys, values = asPositions<Seq, Context, _, _>(k x), asPositions<Seq, Context, _, _>(v x)
            attendAcross scale mask (q x) keys values |> o
}

let block c mask =
    around PostNorm 1.0 (fun name -> norm c name c.Embed) (attention c mask) (feedForward c.FeedForward c.Embed c.Mlp)

/// The tokens' embeddings and the layers: features of each position, and the table of tokens.
let private encoder c = layer "encoder" {
    let! ids = callTokens
    let keys = asPositions<Seq, Context, _, _> ids
    let mask = c.Padding |> Option.map (fun token -> besides token keys) |> Option.defaultValue everything
    let! tokens = embeddingOf (Normal c.FeedForward.Deviation) "tokens" c.Vocab c.Embed

    and! places =
        embeddingOf (Normal c.FeedForward.Deviation) "positions" (axis<Context> c.Context.Size) c.Embed

    and! segments = embeddingOf (Normal c.FeedForward.Deviation) "segments" c.Segments c.Embed
    and! first = norm c "embed_norm" c.Embed
    and! blocks = stack c.Layers (block c mask)
    and! drop = dropout "tokens"

    let encode (ids: Tokens) =
        tokens.Lookup ids + places.Lookup(shifted c.FirstPosition (positions ids)) + segments.Row 0
        |> first
        |> drop
        |> blocks

    return encode, tokens
}

let private maskedHead c (tokens: Embedding<Vocab, Embed>) = layer "head" {
    let! dense = dense c "dense" c.Embed c.Embed
    and! norm = norm c "norm" c.Embed
    and! bias = bias "bias" c.Vocab
    return fun x -> (dense x |> activate c.FeedForward.Activation |> norm |> tokens.Unembed) + bias
}

/// Scores of what stands at each position: a layer of its own, then the product with the table of tokens.
let maskedLm c = layer "model" {
    let! encode, tokens = encoder c
    let! head = maskedHead c tokens
    return encode >> head
}

/// Scores of each position's classes.
let tokenClasses c (classes: Axis<Class>) = layer "model" {
    let! encode, _ = encoder c
    and! scores = dense c "scores" c.Embed classes
    return encode >> scores
}

/// Scores of the text's classes, from its first position.
let sequenceClasses c (classes: Axis<Class>) = layer "model" {
    let! encode, _ = encoder c
    and! pool = dense c "pool" c.Embed c.Embed
    and! scores = dense c "scores" c.Embed classes
    return encode >> firstOf >> pool >> tanh >> scores
}

let ofConfig usualPadding firstPosition json =
    Config.demand "is_decoder" false json
    Config.demand "add_cross_attention" false json
    let embed = Config.axis<Embed> [ "hidden_size" ] json
    let heads = Config.axis<Heads> [ "num_attention_heads" ] json
    let deviation = Config.floatOr 0.02 [ "initializer_range" ] json

    match Config.stringOr "absolute" [ "position_embedding_type" ] json with
    | "absolute" -> ()
    | other ->
        Config.fail
            $"positions of the kind {other} are not supported"
            "position_embedding_type"
            "only absolute ones are"

    {
        Vocab = Config.axis [ "vocab_size" ] json
        Context = Config.axis [ "max_position_embeddings" ] json
        Layers = Config.axis [ "num_hidden_layers" ] json
        Embed = embed
        Heads = heads
        HeadDim = axis (Config.headDim None embed heads json)
        Mlp = Config.axis [ "intermediate_size" ] json
        Segments = axis (Config.intOr 2 [ "type_vocab_size" ] json)
        FirstPosition = firstPosition
        Padding = Config.intUnlessNull usualPadding "pad_token_id" json
        Epsilon = Config.floatOr 1e-12 [ "layer_norm_eps" ] json
        FeedForward = {
            Gated = false
            Clamp = None
            Biased = true
            Activation = Config.activation "gelu" [ "hidden_act" ] json
            Deviation = deviation
            Projection = deviation
        }
    }

/// The head that the config's architecture names, masked language modelling where it names none.
let model modelType json (table: Table) c =
    let classes () : Axis<Class> =
        let named = Config.section [ "id2label" ] json |> Option.map _.Json.Count
        axis (Option.defaultValue (Config.intOr 2 [ "num_labels" ] json) named)

    let architecture =
        Config.tryStrings [ "architectures" ] json |> Option.bind List.tryHead |> Option.defaultValue ""

    let context: Axis<Context> = axis (c.Context.Size - c.FirstPosition)

    let classifier body =
        Family.define json c.Vocab table (ModelDef.classifier modelType c.Vocab context (classes ()) body)

    if architecture.EndsWith "ForSequenceClassification" then
        classifier (sequenceClasses c (classes ()))
    elif architecture.EndsWith "ForTokenClassification" then
        classifier (tokenClasses c (classes ()))
    else
        { Family.model modelType json c.Vocab context (maskedLm c) table with Task = MaskedLm }
