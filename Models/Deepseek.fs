/// DeepSeek (DeepSeek-AI 2024, V2 and V3): attention over latents of low rank, and mixtures of many narrow experts.
module Legato.Models.Deepseek

open Legato.Dsl
open Legato.Models.Blocks
open Legato.Models.Decoder
open Legato.Models.Experts

type QueryRank = interface end
type KeyRank = interface end
/// Features of a head without positions.
type Plain = interface end
/// Features of a head that positions turn.
type Turned = interface end
/// Both.
type Whole = interface end
type Value = interface end
/// Both sides of what keys and values are made of.
type KeyValue = interface end
type SharedHead = interface end

/// Multi-head latent attention (DeepSeek-AI 2024, V2, section 2.1).
type private Latent = {
    QueryRank: Axis<QueryRank> option
    KeyRank: Axis<KeyRank>
    Plain: Axis<Plain>
    Turned: Axis<Turned>
    Value: Axis<Value>
    Rope: Rope
    Scale: float
}

let private queries c m (whole: Axis<Whole>) =
    match m.QueryRank with
    | None -> linear false c.Deviation "q" c.Embed (c.Heads ^* whole)
    | Some rank ->
        linear c.QkvBias c.Deviation "q_a" c.Embed rank
        >=> rmsNormOf 1e-6 "q_a_norm" rank
        >=> linear false c.Deviation "q_b" rank (c.Heads ^* whole)

let private attention c m (_: LayerKind) = layer "attn" {
    let whole = axis<Whole>(m.Plain.Size + m.Turned.Size)
    let keyValue = axis<KeyValue>(m.Plain.Size + m.Value.Size)
    let! q = queries c m whole
    and! latent = linear c.QkvBias c.Deviation "kv_a" c.Embed m.KeyRank
    and! shared = linear c.QkvBias c.Deviation "k_turned" c.Embed (axis<SharedHead> 1 ^* m.Turned)
    and! norm = rmsNormOf 1e-6 "kv_a_norm" m.KeyRank
    and! expand = linear false c.Deviation "kv_b" m.KeyRank (c.Heads ^* keyValue)
    and! o = linear c.OutBias c.Deviation "o" (c.Heads ^* m.Value) c.Embed
    and! cache = cacheOf "kv" c.Context c.Heads whole m.Value

    return
        fun x ->
            let queries, pairs = q x, latent x |> norm |> expand
            let turned = headPart m.Plain.Size m.Turned queries |> rope m.Rope
            let query = joined whole (headPart 0 m.Plain queries) turned
            let key = joined whole (headPart 0 m.Plain pairs) (shared x |> rope m.Rope |> forHeads c.Heads)
            let keys, values = cache.Append(key, headPart m.Plain.Size m.Value pairs)
            attendScaled m.Scale causal query keys values |> o
}

let private attn path name = named $"model.layers.attn.{path}" $"model.layers.{{0}}.self_attn.{name}"
let private moe path name = named $"model.layers.moe.{path}" $"model.layers.{{0}}.mlp.{name}"

let private own path name = named $"model.{path}" $"model.layers.{{0}}.{name}"

/// What a layer that tells a later token has beside a layer's parts.
let private beside (embed: Axis<Embed>) = [
    own "token" "eh_proj" |> part 1 0 embed.Size
    own "state" "eh_proj" |> part 1 embed.Size embed.Size
    own "token_norm" "enorm"
    own "state_norm" "hnorm"
    own "norm" "shared_head.norm"
]

/// Lines of a layer told of those that follow on the model's own and tell later tokens.
let private foretelling count (c: Decoder.Config) (lines: WeightName list) = [
    for n in 1..count do
        for line in lines do
            let name = line.Name.Replace("{0}", string (c.Kinds.Length + n - 1)).Replace("{1}", "{0}")

            {
                line with
                    Path = "model" + String.replicate n ".ahead" + line.Path.Substring "model".Length
                    Name = name
            }
]

let private table later (c: Decoder.Config) m =
    let table =
        Llama.tableWith [
            attn "q_a" "q_a_proj"
            attn "q_a_norm" "q_a_layernorm"
            attn "q_b" "q_b_proj"
            attn "kv_a" "kv_a_proj_with_mqa" |> part 0 0 m.KeyRank.Size
            attn "k_turned" "kv_a_proj_with_mqa" |> part 0 m.KeyRank.Size m.Turned.Size
            attn "kv_a_norm" "kv_a_layernorm"
            attn "kv_b" "kv_b_proj"
            moe "router" "gate"
            for matrix in [ "gate"; "up"; "down" ] do
                moe $"mlp.{matrix}" $"experts.{{1}}.{matrix}_proj"
                moe $"shared.mlp.{matrix}" $"shared_experts.{matrix}_proj"
        ]

    let tensors = [ moe "router.correction" "gate.e_score_correction_bias" ]
    let layers = table.Modules |> List.filter _.Path.StartsWith("model.layers.")
    let modules, biases = foretelling later c (beside c.Embed @ layers), foretelling later c tensors
    // They hold copies of what they share with the model, and are for training alone.
    let shared = [ "embed_tokens"; "shared_head.head" ] |> List.map (own "") |> foretelling later c
    let tensorsOf lines = lines |> List.map (fun (line: WeightName) -> line.Name + ".weight")

    let unused =
        if c.Foretelling.Tokens = later then
            []
        else
            tensorsOf modules @ [ for line: WeightName in biases -> line.Name ]

    {
        table with
            Modules = modules @ table.Modules
            Tensors = biases @ tensors
            Ignored = tensorsOf shared @ unused @ table.Ignored
    }

// With YaRN the scores are weighed again by its magnitude.
let private scoreScale size json =
    let scaled = Config.section [ "rope_parameters"; "rope_scaling" ] json
    let number key = scaled |> Option.bind (Config.tryFloat [ key ])

    let magnitude =
        match number "factor", number "mscale_all_dim" with
        | Some factor, Some weight when factor > 1.0 -> 0.1 * weight * log factor + 1.0
        | _ -> 1.0

    magnitude * magnitude / sqrt (float size)

let private family modelType router json =
    let plainChoices = Llama.choicesOf { Llama.defaults with HeadSize = Some 64 } RopeConfig.plain json
    let later = Config.intOr 0 [ "num_nextn_predict_layers" ] json

    if later < 0 || later > plainChoices.Kinds.Length then
        Config.fail
            $"num_nextn_predict_layers is {later}; the model has {plainChoices.Kinds.Length} layers"
            "num_nextn_predict_layers"
            "give 0, or at most as many as the model has layers"

    // V3 trained with 0.3, and with 0.1 at the end (section 4.2).
    let weight = Config.floatOr 0.3 [ "nextn_predict_loss_weight" ] json

    let c = {
        plainChoices with
            Foretelling = { Tokens = (if json.IsTrained then later else 0); Weight = weight }
    }

    let turned = Config.intOr 64 [ "qk_rope_head_dim" ] json
    let plain = Config.intOr 128 [ "qk_nope_head_dim" ] json
    let interleaved = Config.boolOr true [ "rope_interleave" ] json
    let positions = { RopeConfig.plain with Interleaved = interleaved }

    let m = {
        QueryRank = Config.tryInt [ "q_lora_rank" ] json |> Option.map axis
        KeyRank = axis (Config.intOr 512 [ "kv_lora_rank" ] json)
        Plain = axis plain
        Turned = axis turned
        Value = axis (Config.intOr 128 [ "v_head_dim" ] json)
        Rope = RopeConfig.read positions c.Context (axis<HeadDim> turned) json
        Scale = scoreScale (plain + turned) json
    }

    let width = Config.int [ "moe_intermediate_size" ] json
    let shared = Config.tryInt [ "n_shared_experts" ] json |> Option.filter (fun n -> n > 0)

    let mixture = {
        Router = { router json with Initializer = Normal c.Deviation }
        Experts = Config.axis [ "n_routed_experts"; "num_local_experts" ] json
        Mlp = axis width
        Shared = shared |> Option.map (fun n -> axis (n * width))
        SharedGate = false
    }

    let dense = Config.intOr 0 [ "first_k_dense_replace" ] json
    let step = Config.intOr 1 [ "moe_layer_freq" ] json
    model modelType json (table later c m) mixture (fun i -> i >= dense && i % step = 0) (attention c m) c

let private groups best json = {
    Count = Config.int [ "n_group" ] json
    Chosen = Config.int [ "topk_group" ] json
    Best = best
}

/// V2: weights by softmax; experts from the groups whose best expert is likeliest (section 2.2.2).
let second json =
    let router json =
        let groups =
            match Config.stringOr "greedy" [ "topk_method" ] json with
            | "greedy" -> None
            | "group_limited_greedy" -> Some(groups 1 json)
            | other ->
                let remedy = "use greedy or group_limited_greedy"
                Config.fail $"the choice of experts '{other}' is not known" "topk_method" remedy

        {
            Router.best (Config.int [ "num_experts_per_tok" ] json) with
                Normalised = false
                Scale = Config.floatOr 1.0 [ "routed_scaling_factor" ] json
                Groups = groups
        }

    Config.demand "norm_topk_prob" false json
    family "deepseek_v2" router json

/// V3: weights by sigmoids, a correction in the place of a balancing loss, and groups by their two best (section 2.1.2).
let third json =
    let router json = {
        Router.best (Config.intOr 8 [ "num_experts_per_tok" ] json) with
            Scoring = Sigmoid
            Normalised = Config.boolOr true [ "norm_topk_prob" ] json
            Scale = Config.floatOr 2.5 [ "routed_scaling_factor" ] json
            Groups = Some(groups 2 json)
            // The speed that V3 was trained with for most of its tokens (section 4.2).
            Correction = Some 0.001
    }

    family "deepseek_v3" router json
