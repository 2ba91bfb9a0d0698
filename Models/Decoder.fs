/// The decoder-only transformer, and the choices in which its families differ.
module Legato.Models.Decoder

open Legato.Dsl
open Legato.Models.Blocks

/// What may differ from layer to layer.
type LayerKind = {
    /// How many positions a query sees, its own included; None: all before it.
    Window: int option
    /// Rotary positions; None: the layer has none of its own.
    Rope: Rope option
}

/// How queries and keys are normalised before their product.
type QkNorm =
    | Unnormed
    /// Each head by itself, with the same gain.
    | HeadNorm of Norm
    /// Each head by itself, with gains of its own (Cohere).
    | GainPerHead
    /// All heads of the projection together (OLMo 2).
    | WholeNorm of Norm

/// A family's values for keys that its configs may leave out.
type Defaults = {
    /// How many times wider than the model the feed-forward is; None: a config has to say.
    Widening: int option
    /// None: an even share of the width.
    HeadSize: int option
    NormEpsilon: float
    TiedHead: bool
}

/// Later tokens that training tells.
type Foretelling = {
    /// How many.
    Tokens: int
    /// What the mean of their losses counts.
    Weight: float
}

[<NoComparison; NoEquality>]
type Config = {
    Vocab: Axis<Vocab>
    Context: Axis<Context>
    Kinds: LayerKind list
    Embed: Axis<Embed>
    Heads: Axis<Heads>
    KvHeads: Axis<KvHeads>
    HeadDim: Axis<HeadDim>
    Mlp: Axis<Mlp>
    Norm: Norm
    Epsilon: float
    Order: Order
    /// A norm before the output head.
    FinalNorm: bool
    /// A table of positions is added to the tokens; its first rows are not used.
    Learned: int option
    /// Scores fall with distance.
    Alibi: Mask option
    QkNorm: QkNorm
    /// What a score is multiplied by; None: 1/√(head size).
    ScoreScale: float option
    ScoreCap: float option
    /// Each head has one more key, which takes attention and gives nothing (gpt-oss).
    Sinks: bool
    LogitCap: float option
    QkvBias: bool
    OutBias: bool
    HeadBias: bool
    FeedForward: FeedForward
    /// Token embeddings are normalised (BLOOM).
    EmbedNorm: bool
    EmbedScale: float
    ResidualScale: float
    LogitScale: float
    Tied: bool
    Deviation: float
    Foretelling: Foretelling
}

let private norm c name feature = Blocks.norm c.Norm c.Epsilon name feature
let private given word choice = choice |> Option.map word |> Option.defaultValue everything

let private mask c kind = causal &&& given window kind.Window &&& given id c.Alibi &&& given scoreCap c.ScoreCap

let private qkNorm c name (heads: Axis<'Heads>) =
    match c.QkNorm with
    | Unnormed -> Layer.value id
    | HeadNorm kind -> Blocks.norm kind c.Epsilon name c.HeadDim |> Layer.map perHead
    | WholeNorm kind -> Blocks.norm kind c.Epsilon name (heads ^* c.HeadDim)
    | GainPerHead -> layerNormPerHead c.Epsilon name heads c.HeadDim

/// What queries take of keys and values.
let private attended c kind =
    let scale = c.ScoreScale |> Option.defaultValue (1.0 / sqrt (float c.HeadDim.Size))

    if c.Sinks then
        vectorOf (Normal c.Deviation) "sinks" c.Heads |> Layer.map (attendWithSinks scale (mask c kind))
    else
        Layer.value (attendScaled scale (mask c kind))

let attention c kind = layer "attn" {
    let! q = linear c.QkvBias c.Deviation "q" c.Embed (c.Heads ^* c.HeadDim)
    and! k = linear c.QkvBias c.Deviation "k" c.Embed (c.KvHeads ^* c.HeadDim)
    and! v = linear c.QkvBias c.Deviation "v" c.Embed (c.KvHeads ^* c.HeadDim)
    and! o = linear c.OutBias c.FeedForward.Projection "o" (c.Heads ^* c.HeadDim) c.Embed
    and! normQ = qkNorm c "q_norm" c.Heads
    and! normK = qkNorm c "k_norm" c.KvHeads
    and! attended = attended c kind
    and! kv = cache "kv" c.Context c.KvHeads c.HeadDim

    return
        fun x ->
            let turn t = kind.Rope |> Option.map (fun r -> rope r t) |> Option.defaultValue t
            let keys, values = kv.Append(k x |> normK |> turn, v x)
            attended (q x |> normQ |> turn) keys values |> o
}

/// A block of the decoder's order and norms around an attention and a feed-forward.
let blockOf c attention feedForward =
    around c.Order c.ResidualScale (fun name -> norm c name c.Embed) attention feedForward

let private head c (tokens: Embedding<Vocab, Embed>) =
    if c.Tied then
        Layer.value tokens.Unembed
    elif c.HeadBias then
        linear true c.Deviation "head" c.Embed c.Vocab
    else
        layer "head" {
            let! w = weightOf (Normal c.Deviation) "weight" c.Embed c.Vocab
            return fun x -> x *@ w
        }

let private places c =
    match c.Learned with
    | None -> Layer.value (fun _ x -> x)
    | Some skipped ->
        embeddingOf (Normal c.Deviation) "positions" (axis<Context>(c.Context.Size + skipped)) c.Embed
        |> Layer.map (fun table ids x -> x + table.Lookup(shifted skipped (positions ids)))

/// A block for each later token, within the one for the token before: it reads that one's state and the embedding of the
/// token that it told, and shares embeddings and head with the model (DeepSeek-AI 2024, V3, section 2.2).
let rec private foretelling c number block (tokens: Embedding<Vocab, Embed>) head =
    if number > c.Foretelling.Tokens then
        Layer.value (fun (_: Tokens) (_: Tensor<Batch * Seq, Embed>) -> ())
    else
        layer "ahead" {
            let! token = linear false c.Deviation "token" c.Embed c.Embed
            and! state = linear false c.Deviation "state" c.Embed c.Embed
            and! tokenNorm = norm c "token_norm" c.Embed
            and! stateNorm = norm c "state_norm" c.Embed
            and! block = block
            and! last = norm c "norm" c.Embed
            and! tell = foretell
            and! further = foretelling c (number + 1) block tokens head

            return
                fun ids x ->
                    let next = tokens.Lookup(ahead number ids) * c.EmbedScale
                    let told = state (stateNorm x) + token (tokenNorm next) |> block
                    tell number (c.Foretelling.Weight / float c.Foretelling.Tokens) (head (last told))
                    further ids told
        }

/// A decoder with a block of one's own for each kind of layer.
let decoderWith c kinds block = layer "model" {
    let! tokens = embeddingOf (Normal c.Deviation) "tokens" c.Vocab c.Embed
    and! places = places c
    and! embedNorm = optional c.EmbedNorm (norm c "embed_norm" c.Embed)
    and! blocks = stackOf kinds block
    and! last = optional c.FinalNorm (norm c "norm" c.Embed)
    and! drop = dropout "tokens"
    let! head = head c tokens
    let cap logits = c.LogitCap |> Option.map (fun cap -> softCap cap logits) |> Option.defaultValue logits
    let told x = cap (head x * c.LogitScale)
    let! foretell = inTraining (foretelling c 1 (block (List.last kinds)) tokens told)

    return
        fun ids ->
            let x = tokens.Lookup ids * c.EmbedScale |> places ids |> embedNorm |> drop |> blocks |> last
            foretell ids x
            told x
}

let decoder c =
    decoderWith c c.Kinds (fun kind -> blockOf c (attention c kind) (feedForward c.FeedForward c.Embed c.Mlp))

// A root of what it is added to.
let private epsilon fallback (keys: string list) json =
    match Config.floatOr fallback keys json with
    | value when value >= 0.0 && value < infinity -> value
    | value -> Config.fail $"a norm can't have an epsilon of {value}" keys.Head "give 0 or more, such as 1e-5"

/// A pre-norm decoder with the sizes of the config: RMSNorm, no biases, no positions, a gated feed-forward.
let private withContext (context: Axis<Context>) defaults json : Config =
    let embed = Config.axis<Embed> Config.widths json
    let heads = Config.axis<Heads> [ "num_attention_heads"; "n_head"; "n_heads" ] json
    let layers = Config.layers [ "num_hidden_layers"; "n_layer"; "n_layers" ] json
    let deviation = Config.floatOr 0.02 [ "initializer_range"; "init_std" ] json
    let mlp = [ "intermediate_size"; "n_inner"; "ffn_dim"; "ffn_hidden_size" ]

    {
        Vocab = Config.axis [ "vocab_size" ] json
        Context = context
        Kinds = List.replicate layers { Window = None; Rope = None }
        Embed = embed
        Heads = heads
        KvHeads = axis (Config.keyHeads [ "num_key_value_heads" ] heads json)
        HeadDim = axis (Config.headDim defaults.HeadSize embed heads json)
        Mlp =
            match defaults.Widening with
            | Some times -> axis (Config.intOr (times * embed.Size) mlp json)
            | None -> Config.axis mlp json
        Norm = RmsNorm
        Epsilon =
            epsilon defaults.NormEpsilon [ "rms_norm_eps"; "layer_norm_epsilon"; "layer_norm_eps"; "norm_epsilon" ] json
        Order = PreNorm
        FinalNorm = true
        Learned = None
        Alibi = None
        QkNorm = Unnormed
        ScoreScale = None
        ScoreCap = None
        Sinks = false
        LogitCap = None
        QkvBias = false
        OutBias = false
        HeadBias = false
        FeedForward = {
            Gated = true
            Clamp = None
            Biased = false
            Activation = Silu
            Deviation = deviation
            Projection = deviation
        }
        EmbedNorm = false
        EmbedScale = 1.0
        ResidualScale = 1.0
        LogitScale = 1.0
        Tied = Config.boolOr defaults.TiedHead [ "tie_word_embeddings" ] json
        Deviation = deviation
        Foretelling = { Tokens = 0; Weight = 0.0 }
    }

let private contexts = [ "max_position_embeddings"; "n_positions"; "n_ctx"; "max_seq_len"; "seq_length" ]
let ofConfig defaults json = withContext (Config.axis contexts json) defaults json

/// A model that has no end of its own: `longest` where the config names none.
let ofEndless longest defaults json = withContext (axis (Config.intOr longest contexts json)) defaults json

/// Rotary positions in every layer.
let rotary (turns: Rope) c = { c with Kinds = c.Kinds |> List.map (fun kind -> { kind with Rope = Some turns }) }

/// A window in the layers that layer_types calls sliding, or, where a config has no such list, in those that `slides` picks.
let sliding (window: int option) (slides: int -> bool) json c =
    let types = Config.tryStrings [ "layer_types" ] json

    let isSliding i =
        match types with
        | None -> slides i
        | Some all when all.Length <> c.Kinds.Length ->
            let what = $"layer_types names {all.Length} layers, the model has {c.Kinds.Length}"
            Config.fail what "layer_types" "name every layer once"
        | Some all ->
            match all[i] with
            | "sliding_attention" -> true
            | "full_attention" -> false
            | other ->
                Config.fail $"layer_types holds '{other}'" "layer_types" "use full_attention or sliding_attention"

    {
        c with
            Kinds = c.Kinds |> List.mapi (fun i kind -> { kind with Window = if isSliding i then window else None })
    }

/// A family's model of these choices.
let model modelType json table c = Family.model modelType json c.Vocab c.Context (decoder c) table
