/// Multi-head latent attention (DeepSeek-AI 2024, V2, section 2.1): keys and values expanded from latents of low rank.
module Legato.Models.LatentAttention

open Legato.Dsl
open Legato.Models.Blocks
open Legato.Models.Decoder

type QueryRank = interface end
type KeyRank = interface end
/// Features of a head without positions.
type Plain = interface end
/// Features of a head that positions turn.
type Turned = interface end
/// Both.
type Whole = interface end
type Value = interface end
type SharedHead = interface end

type Latent = {
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

let attention c m (_: LayerKind) = layer "attn" {
    let whole = axis<Whole>(m.Plain.Size + m.Turned.Size)
    let! q = queries c m whole
    and! latent = linear c.QkvBias c.Deviation "kv_a" c.Embed m.KeyRank
    and! shared = linear c.QkvBias c.Deviation "k_turned" c.Embed (axis<SharedHead> 1 ^* m.Turned)
    and! norm = rmsNormOf 1e-6 "kv_a_norm" m.KeyRank
    and! plain = linear false c.Deviation "k_b" m.KeyRank (c.Heads ^* m.Plain)
    and! value = linear false c.Deviation "v_b" m.KeyRank (c.Heads ^* m.Value)
    and! o = linear c.OutBias c.Deviation "o" (c.Heads ^* m.Value) c.Embed
    and! cache = cacheOf "kv" c.Context c.Heads whole m.Value

    return
        fun x ->
            let queries, compressed = q x, latent x |> norm
            let turned = headPart m.Plain.Size m.Turned queries |> rope m.Rope
            let query = joined whole (headPart 0 m.Plain queries) turned
            let key = joined whole (plain compressed) (shared x |> rope m.Rope |> forHeads c.Heads)
            let keys, values = cache.Append(key, value compressed)
            attendScaled m.Scale causal query keys values |> o
}

let private line path name = named $"model.layers.attn.{path}" $"model.layers.{{0}}.self_attn.{name}"

/// Where its matrices lie in a checkpoint.
let modules m = [
    line "q_a" "q_a_proj"
    line "q_a_norm" "q_a_layernorm"
    line "q_b" "q_b_proj"
    line "kv_a" "kv_a_proj_with_mqa" |> part 0 0 m.KeyRank.Size
    line "k_turned" "kv_a_proj_with_mqa" |> part 0 m.KeyRank.Size m.Turned.Size
    line "kv_a_norm" "kv_a_layernorm"
    line "k_b" "kv_b_proj" |> every (m.Plain.Size + m.Value.Size) 0 m.Plain.Size
    line "v_b" "kv_b_proj" |> every (m.Plain.Size + m.Value.Size) m.Plain.Size m.Value.Size
]

// With YaRN the scores are weighed again by its magnitude.
let private scoreScale size json =
    let scaled = Config.section [ "rope_parameters"; "rope_scaling" ] json
    let number key = scaled |> Option.bind (Config.tryFloat [ key ])

    let magnitude =
        match number "factor", number "mscale_all_dim" with
        | Some factor, Some weight when factor > 1.0 -> 0.1 * weight * log factor + 1.0
        | _ -> 1.0

    magnitude * magnitude / sqrt (float size)

/// What a config says of it.
let ofConfig c json =
    let turned = Config.intOr 64 [ "qk_rope_head_dim" ] json
    let plain = Config.intOr 128 [ "qk_nope_head_dim" ] json

    let positions = {
        RopeConfig.plain with
            Interleaved = Config.boolOr true [ "rope_interleave" ] json
            Head = "qk_rope_head_dim"
    }

    {
        QueryRank = Config.tryInt [ "q_lora_rank" ] json |> Option.map axis
        KeyRank = axis (Config.intOr 512 [ "kv_lora_rank" ] json)
        Plain = axis plain
        Turned = axis turned
        Value = axis (Config.intOr 128 [ "v_head_dim" ] json)
        Rope = RopeConfig.read positions c.Context (axis<HeadDim> turned) json
        Scale = scoreScale (plain + turned) json
    }
