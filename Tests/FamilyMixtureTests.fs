/// Decoders with mixtures of experts, each against its forward pass in plain loops.
module Legato.Tests.FamilyMixtureTests

open NUnit.Framework
open Legato.Tests.FamilyReference
open Legato.Tests.FamilyAgreement

let private config modelType rest =
    $"""{{ "model_type": "{modelType}", "vocab_size": {vocab}, "max_position_embeddings": 32, "hidden_size": {embed},
    "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": {mlp}, "num_experts_per_tok": 2 {rest} }}"""

let private layer i name = $"model.layers.{i}.{name}"
let private embedded = rows "model.embed_tokens.weight" embed tokens
let private norm i name x = rms 1e-6 (layer i name) x
let private scores epsilon x = rms epsilon "model.norm" x |> linear "lm_head" vocab

let private gated (name: string) width x =
    times (linear $"{name}.gate_proj" width x |> apply silu) (linear $"{name}.up_proj" width x)
    |> linear $"{name}.down_proj" embed

let private softmax (logits: float array) =
    let total = logits |> Array.sumBy exp
    logits |> Array.map (fun x -> exp x / total)

/// The experts with the highest scores, and those.
let private best count (scores: float array) =
    scores |> Array.indexed |> Array.sortByDescending snd |> Array.truncate count

let private normalised (chosen: (int * float) array) =
    let total = Array.sumBy snd chosen
    chosen |> Array.map (fun (e, weight) -> e, weight / total)

/// The outputs of each position's experts, weighed.
let private routed choose (expert: int -> Values -> Values) (logits: Values) (x: Values) : Values =
    Array.map2
        (fun row position ->
            choose row
            |> Array.map (fun (e, weight) -> scaled weight (expert e [| position |]))
            |> Array.reduce plus
            |> Array.head)
        logits
        x

let private decoder epsilon (attention: int -> Values -> Values) (feedForward: int -> Values -> Values) =
    let block i x =
        let h = plus x (attention i (rms epsilon (layer i "input_layernorm") x))
        plus h (feedForward i (rms epsilon (layer i "post_attention_layernorm") h))

    embedded |> layers 3 block |> scores epsilon

[<Test>]
let ``Qwen 2's mixture`` () =
    let attention i x =
        let part name count = biased (layer i $"self_attn.{name}") count x
        let turn = turnHeads false 10000.0 4 4

        attend 4 causal (turn (part "q_proj" 16)) (turn (part "k_proj" 8)) (part "v_proj" 8)
        |> linear (layer i "self_attn.o_proj") embed

    let mixture i x =
        let expert e = gated (layer i $"mlp.experts.{e}") 6
        let weight = linear (layer i "mlp.shared_expert_gate") 1 x |> apply (fun g -> 1.0 / (1.0 + exp -g))

        let shared =
            gated (layer i "mlp.shared_expert") 10 x
            |> Array.map2 (fun (w: float array) -> Array.map (fun y -> w[0] * y)) weight

        plus (routed (softmax >> best 2) expert (linear (layer i "mlp.gate") 4 x) x) shared

    decoder 1e-6 attention (fun i -> if i = 1 then gated (layer i "mlp") mlp else mixture i)
    |> agree (
        config
            "qwen2_moe"
            ", \"num_key_value_heads\": 2, \"num_experts\": 4, \"moe_intermediate_size\": 6, \"shared_expert_intermediate_size\": 10, \"mlp_only_layers\": [1]"
    )

[<Test>]
let ``Qwen 3's mixture`` () =
    let attention i x =
        let part name count = linear (layer i $"self_attn.{name}") count x

        let turned name count =
            part $"{name}_proj" count
            |> heads 4 (fun position _ h ->
                (norm i $"self_attn.{name}_norm" [| h |])[0] |> turn false 10000.0 4 position)

        attend 4 causal (turned "q" 16) (turned "k" 8) (part "v_proj" 8)
        |> linear (layer i "self_attn.o_proj") embed

    let mixture i x =
        let expert e = gated (layer i $"mlp.experts.{e}") 6
        routed (softmax >> best 2 >> normalised) expert (linear (layer i "mlp.gate") 5 x) x

    decoder 1e-6 attention (fun i -> if (i + 1) % 2 = 0 then mixture i else gated (layer i "mlp") mlp)
    |> agree (
        config
            "qwen3_moe"
            ", \"num_key_value_heads\": 2, \"head_dim\": 4, \"num_experts\": 5, \"moe_intermediate_size\": 6, \"norm_topk_prob\": true, \"decoder_sparse_step\": 2"
    )

// Heads of 4 plain and 2 turned features, values of 3; keys and values of a latent of 5.
let private latentAttention (queries: int -> Values -> Values) i x =
    let down = layer i "self_attn.kv_a_proj_with_mqa.weight"
    let latent = product down 0 5 x |> norm i "self_attn.kv_a_layernorm"
    let pairs = linear (layer i "self_attn.kv_b_proj") (4 * 7) latent
    let shared = product down 5 2 x |> turnHeads true 10000.0 2 2
    let ofHead first size = heads 7 (fun _ _ h -> h[first .. first + size - 1]) pairs
    let keys = ofHead 0 4 |> heads 4 (fun position _ plain -> Array.append plain shared[position])

    let asked =
        queries i x
        |> heads 6 (fun position _ h -> Array.append h[..3] (turn true 10000.0 2 position h[4..]))

    attend 6 causal asked keys (ofHead 4 3) |> linear (layer i "self_attn.o_proj") embed

let private deepseek rest =
    config
        "deepseek_v2"
        $", \"kv_lora_rank\": 5, \"qk_nope_head_dim\": 4, \"qk_rope_head_dim\": 2, \"v_head_dim\": 3, \"n_routed_experts\": 6, \"n_shared_experts\": 2, \"moe_intermediate_size\": 6, \"routed_scaling_factor\": 1.5, \"first_k_dense_replace\": 1, {rest}"

let private deepseekMixture choose i x =
    if i = 0 then
        gated (layer i "mlp") mlp x
    else
        let experts =
            routed choose (fun e -> gated (layer i $"mlp.experts.{e}") 6) (linear (layer i "mlp.gate") 6 x) x

        plus (scaled 1.5 experts) (gated (layer i "mlp.shared_experts") 12 x)

[<Test>]
let ``DeepSeek V2, its queries of low rank, its experts of the best groups`` () =
    let queries i x =
        linear (layer i "self_attn.q_a_proj") 8 x
        |> norm i "self_attn.q_a_layernorm"
        |> linear (layer i "self_attn.q_b_proj") (4 * 6)

    // Three groups of two; those of the two with the likeliest expert remain.
    let choose logits =
        let likely = softmax logits
        let groups = likely |> Array.chunkBySize 2 |> Array.map Array.max |> best 2 |> Array.map fst
        likely |> Array.mapi (fun e p -> if Array.contains (e / 2) groups then p else 0.0) |> best 2

    decoder 1e-6 (latentAttention queries) (deepseekMixture choose)
    |> agree (
        deepseek "\"q_lora_rank\": 8, \"topk_method\": \"group_limited_greedy\", \"n_group\": 3, \"topk_group\": 2"
    )

[<Test>]
let ``DeepSeek V2 Lite, its queries whole, its experts of all`` () =
    let queries i x = linear (layer i "self_attn.q_proj") (4 * 6) x

    decoder 1e-6 (latentAttention queries) (deepseekMixture (softmax >> best 2))
    |> agree (deepseek "\"q_lora_rank\": null, \"topk_method\": \"greedy\"")

// YaRN of factor 4 from 16 positions on, over heads of 8 (Peng et al. 2023, sections 3.2 to 3.4).
let private yarn position (head: float array) =
    let theta, factor, trained = 150000.0, 4.0, 16.0
    let pairOf turns = 8.0 * log (trained / (turns * 2.0 * System.Math.PI)) / (2.0 * log theta)
    let first, last = max 0.0 (pairOf 2.0), min 7.0 (pairOf 0.5)
    let magnitude = 0.1 * log factor + 1.0

    let angle i =
        let plain = theta ** (-2.0 * float i / 8.0)
        let stretched = (float i - first) / (last - first) |> max 0.0 |> min 1.0
        float position * (stretched * plain / factor + (1.0 - stretched) * plain)

    Array.init 8 (fun d ->
        let i = d % 4
        let a, b = head[i], head[i + 4]

        if d < 4 then
            magnitude * (a * cos (angle i) - b * sin (angle i))
        else
            magnitude * (b * cos (angle i) + a * sin (angle i)))

[<Test>]
let ``gpt-oss`` () =
    let attention i x =
        let part name count = biased (layer i $"self_attn.{name}") count x
        let turn = heads 8 (fun position _ h -> yarn position h)
        let sink head = exp (element (layer i "self_attn.sinks") head 0)
        let sees = if i % 2 = 0 then window 3 else causal
        let weigh _ _ _ dot = exp (dot / sqrt 8.0)

        attendOver 8 weigh sink sees (turn (part "q_proj" 32)) (turn (part "k_proj" 16)) (part "v_proj" 16)
        |> biased (layer i "self_attn.o_proj") embed

    // Tensors hold all experts, each as [in, out].
    let matrix i e name step first count (x: Values) : Values =
        let inputs = x[0].Length
        let outputs = step * count

        x
        |> Array.map (fun row ->
            Array.init count (fun o ->
                let sum =
                    row
                    |> Array.mapi (fun n v ->
                        v * element (layer i $"mlp.experts.{name}") (e * inputs + n) (step * o + first))
                    |> Array.sum

                sum + element (layer i $"mlp.experts.{name}_bias") (e * outputs + step * o + first) 0))

    let expert i e x =
        let gate = matrix i e "gate_up_proj" 2 0 mlp x |> apply (min 0.1)
        let up = matrix i e "gate_up_proj" 2 1 mlp x |> apply (min 0.1 >> max -0.1)
        let glu = gate |> apply (fun g -> g / (1.0 + exp (-1.702 * g)))
        times glu (apply ((+) 1.0) up) |> matrix i e "down_proj" 1 0 embed

    let mixture i x =
        let choose logits = best 2 logits |> Array.unzip |> fun (e, top) -> Array.zip e (softmax top)
        routed choose (expert i) (biased (layer i "mlp.router") 4 x) x

    decoder 1e-5 attention mixture
    |> agree (
        config
            "gpt_oss"
            ", \"num_key_value_heads\": 2, \"head_dim\": 8, \"num_local_experts\": 4, \"sliding_window\": 3, \"swiglu_limit\": 0.1, \"rope_parameters\": { \"rope_type\": \"yarn\", \"factor\": 4, \"beta_fast\": 2, \"beta_slow\": 0.5, \"original_max_position_embeddings\": 16, \"truncate\": false }"
    )
