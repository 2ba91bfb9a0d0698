/// Layers that tell later tokens in training (DeepSeek-AI 2024, V3, section 2.2), against plain loops in float64.
module Legato.Tests.FamilyForetellingTests

open Legato.Compiler
open Legato.Dsl
open Legato.Models
open Legato.Runtime.Plans
open Legato.Tests.FamilyReference
open NUnit.Framework

let private tokens = [| 3; 1; 4; 1; 5; 9; 2; 6 |]
let private labels = [| 1; 4; 1; 5; 9; 2; 6; 5 |]
let private embed, vocab, mlp = 16, 11, 24

let config later =
    $"""{{ "model_type": "deepseek_v3", "vocab_size": {vocab}, "max_position_embeddings": 16, "hidden_size": {embed},
    "num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 2, "q_lora_rank": null, "kv_lora_rank": 6,
    "qk_nope_head_dim": 4, "qk_rope_head_dim": 4, "v_head_dim": 8, "intermediate_size": {mlp}, "moe_intermediate_size": 8,
    "n_routed_experts": 4, "n_shared_experts": null, "n_group": 1, "topk_group": 1, "num_experts_per_tok": 2,
    "first_k_dense_replace": 2, "rms_norm_eps": 1e-6, "rope_theta": 10000.0, "tie_word_embeddings": false,
    "num_nextn_predict_layers": {later} }}"""

let private norm name x = rms 1e-6 name x
let private columns first count (x: Values) : Values = x |> Array.map (fun row -> row[first .. first + count - 1])
let private beside (x: Values) (y: Values) : Values = Array.map2 Array.append x y

/// Latent attention with two heads, each of four features without positions and four that positions turn.
let private attention (name: string) (x: Values) =
    let turned = turnHeads true 10000.0 4 4
    let q = linear (name + "q_proj") 16 x
    let pairs = linear (name + "kv_a_proj_with_mqa") 10 x
    let shared = columns 6 4 pairs |> turned
    let expanded = columns 0 6 pairs |> norm (name + "kv_a_layernorm") |> linear (name + "kv_b_proj") 24
    let head i = beside (columns (8 * i) 4 q) (columns (8 * i + 4) 4 q |> turned)
    let keys i = beside (columns (12 * i) 4 expanded) shared
    let values i = columns (12 * i + 4) 8 expanded

    attend 8 causal (beside (head 0) (head 1)) (beside (keys 0) (keys 1)) (beside (values 0) (values 1))
    |> linear (name + "o_proj") embed

let private layer (number: int) x =
    let name = $"model.layers.{number}."
    let h = plus x (norm (name + "input_layernorm") x |> attention (name + "self_attn."))
    let y = norm (name + "post_attention_layernorm") h
    let gate, up = linear (name + "mlp.gate_proj") mlp y |> apply silu, linear (name + "mlp.up_proj") mlp y
    plus h (times gate up |> linear (name + "mlp.down_proj") embed)

let private told x = linear "lm_head" vocab x
let private embedded ids = rows "model.embed_tokens.weight" embed ids

/// The mean over the positions whose label is in the row.
let private loss by (logits: Values) =
    [
        for i in 0 .. tokens.Length - 1 - by ->
            let total = logits[i] |> Array.sumBy exp
            log total - logits[i][labels[i + by]]
    ]
    |> List.average

let private expected later =
    let trunk = embedded tokens |> layers 2 layer |> norm "model.norm"

    let rec further number (x: Values) =
        if number > later then
            0.0
        else
            let name = $"model.layers.{1 + number}."
            // Behind the row's end nothing is told.
            let next = embedded (Array.init tokens.Length (fun i -> tokens[min (i + number) (tokens.Length - 1)]))
            let both = beside (norm (name + "enorm") next) (norm (name + "hnorm") x)
            let state = linear (name + "eh_proj") embed both |> layer (1 + number)
            let own = norm (name + "shared_head.norm") state |> told |> loss number
            0.3 / float later * own + further (number + 1) state

    loss 0 (told trunk) + further 1 trunk

let private values (model: ModelDef) shift =
    let lines = model.Weights.Names |> List.map (fun line -> line.Path, line) |> Map.ofList
    let parameters = Compile.declaredBy model |> List.map (fun p -> p.Parameter.Path, p) |> Map.ofList

    fun (node: Node) ->
        match node.Op with
        | Op.Param(p, _) ->
            ModelLogitsTests.elements element lines[p.Path] parameters[p.Path]
            |> Array.mapi (fun i v -> v + shift * element p.Path i 1)
        | Op.Input("tokens", _, _) -> Array.map float tokens
        | Op.Input("labels", _, _) -> Array.map float labels
        | _ -> Array.zeroCreate (node.Dims |> List.map ModelLogitsTests.size |> List.fold (*) 1)

let private call model = Specialise.call model (PlanRequest(Purpose.Train, 1L, 8L, 8L))
let private run model shift roots = Evaluate.run (values model shift) failwith roots
let private lossNode (call: Specialise.Call) = call.Outputs |> List.find (fst >> (=) "loss") |> snd

[<Test>]
let ``the loss is the reference's`` ([<Values(0, 1, 2)>] later: int) =
    let model = Families.toTrain (config later)
    let found = (run model 0.0 [ lossNode (call model) ]).Head[0]
    Assert.That(found, Is.EqualTo(expected later).Within 1e-9)

[<Test>]
let ``the gradient is the loss's slope`` ([<Values(1, 2)>] later: int) =
    let model = Families.toTrain (config later)
    let call = call model
    let step = 1e-5
    let at shift = (run model shift [ lossNode call ]).Head[0]
    let slope = (at step - at -step) / (2.0 * step)

    let along =
        List.zip call.Gradients (run model 0.0 (List.map snd call.Gradients))
        |> List.sumBy (fun ((p, _), gradient) ->
            gradient |> Array.mapi (fun i g -> g * element p.Path i 1) |> Array.sum)

    Assert.That(along, Is.EqualTo(slope).Within(1e-7 * max 1.0 (abs slope)))

    for p, gradient in call.Gradients do
        if p.Path.Contains "ahead" then
            let found = (run model 0.0 [ gradient ]).Head
            Assert.That(found |> Array.exists (fun g -> abs g > 1e-9), p.Path)

[<Test>]
let ``calls that don't train have nothing of them`` () =
    let plain, trained = Families.ofConfig (config 1), Families.toTrain (config 1)
    Assert.That(ModelDef.parameterCount plain, Is.EqualTo(ModelDef.parameterCount (Families.ofConfig (config 0))))
    Assert.That(ModelDef.parameterCount trained, Is.GreaterThan(ModelDef.parameterCount plain))
    Assert.That(plain.Weights.Ignored, Does.Contain("model.layers.2.eh_proj.weight"))

    let caches (model: ModelDef) = (Specialise.call model (PlanRequest(Purpose.Prefill, 1L, 8L, 8L))).Updates.Length

    Assert.That(caches trained, Is.EqualTo(caches plain))

[<Test>]
let ``more of them than layers are refused`` () =
    let refused later = GraphValues.message (fun () -> Families.toTrain (config later) |> ignore)

    Assert.That(refused 3, Does.Contain "num_nextn_predict_layers")
    Assert.That(refused -1, Does.Contain "num_nextn_predict_layers")
