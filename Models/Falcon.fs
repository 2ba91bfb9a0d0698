/// Falcon (Almazrouei et al. 2023): attention and feed-forward side by side, few key heads, rotary positions. The first,
/// RefinedWeb models have ALiBi and one part after the other; the larger ones a norm for each part.
module Legato.Models.Falcon

open Legato.Dsl
open Legato.Models.Blocks
open Legato.Models.Decoder

/// How queries, keys and values lie in their one tensor.
type private Fused =
    /// A group of queries, then the key and the value that it shares.
    | ByGroup
    /// A query, a key and a value of each head.
    | ByHead
    /// All queries, then the one key and the one value.
    | MultiQuery

let private parts fused c =
    let head = c.HeadDim.Size
    let share = c.Heads.Size / c.KvHeads.Size
    let turn start length = every ((share + 2) * head) start length

    match fused with
    | MultiQuery -> part 0 0 (share * head), part 0 (share * head) head, part 0 ((share + 1) * head) head
    | ByGroup
    | ByHead -> turn 0 (share * head), turn (share * head) head, turn ((share + 1) * head) head

let private table fused parallelNorms c =
    let layer path name = named $"model.layers.{path}" $"h.{{0}}.{name}"
    let q, k, v = parts fused c
    let fusedAs path = layer path "self_attention.query_key_value"

    {
        Table.ofModules [
            named "model.tokens" "word_embeddings"
            layer "attn_norm" (if parallelNorms then "ln_attn" else "input_layernorm")
            fusedAs "attn.q" |> q
            fusedAs "attn.k" |> k
            fusedAs "attn.v" |> v
            layer "attn.o" "self_attention.dense"
            layer "mlp_norm" (if parallelNorms then "ln_mlp" else "post_attention_layernorm")
            layer "mlp.up" "mlp.dense_h_to_4h"
            layer "mlp.down" "mlp.dense_4h_to_h"
            named "model.norm" "ln_f"
        ] with
            Prefixes = [ "transformer."; "" ]
            Ignored = [ "lm_head.weight" ]
    }

// Its ALiBi is added before the scores are scaled.
let private alibi c = alibiOf 8.0 (1.0 / sqrt (float c.HeadDim.Size)) c.Heads

let private keyHeads (heads: Axis<Heads>) isNew isMultiQuery json =
    if isNew then Config.keyHeads [ "num_kv_heads" ] heads json
    elif isMultiQuery then 1
    else heads.Size

let ofConfig json =
    let flag fallback key = Config.boolOr fallback [ key ] json
    let isNew, isMultiQuery = flag false "new_decoder_architecture", flag true "multi_query"
    let isParallel = isNew || flag true "parallel_attn"
    let norms = isNew && Config.intOr 2 [ "num_ln_in_parallel_attn" ] json = 2

    let c =
        Decoder.ofEndless 2048 { Widening = Some 4; HeadSize = None; NormEpsilon = 1e-5; TiedHead = true } json

    let sized = { c with KvHeads = axis (keyHeads c.Heads isNew isMultiQuery json) }
    let bias = flag false "bias"

    let placed =
        if flag false "alibi" then
            { sized with Alibi = Some(alibi sized) }
        else
            rotary (RopeConfig.read RopeConfig.plain c.Context c.HeadDim json) sized

    let fused =
        if isNew then ByGroup
        elif isMultiQuery then MultiQuery
        else ByHead

    model "falcon" json (table fused norms sized) {
        placed with
            Norm = LayerNorm
            Order =
                if norms then ParallelNorms
                elif isParallel then Parallel
                else PreNorm
            QkvBias = bias
            OutBias = bias
            FeedForward = {
                c.FeedForward with
                    Gated = false
                    Biased = bias
                    Activation = Config.activation "gelu" [ "activation" ] json
            }
    }
