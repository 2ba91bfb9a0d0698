namespace Legato.Models

open System.Text.Json.Nodes
open Legato.Dsl

/// A value of a GGUF file's metadata.
type GgufValue =
    | Whole of int64
    | Real of float
    | Word of string
    | Flag of bool

/// A tensor that GGUF has for one of the parameters that lie in one tensor of the Hugging Face layout.
type GgufPart = {
    /// The tensor there.
    Hub: string
    /// Whether the parameter's part of it is the first.
    IsFirst: bool
    Name: string
    /// Whether each head has a matrix of its own (see WeightName.RowsApart), and whether that is transposed.
    HeadsApart: bool
    Turned: bool
}

/// A kind of model as GGUF files name it, beside the family that config.json names.
[<NoEquality; NoComparison>]
type GgufArchitecture = {
    /// general.architecture, which also begins the keys of the model's sizes.
    Name: string
    ModelType: string
    /// Whether a file is of this kind among those of the same name, by its metadata's keys after the name.
    IsTold: (string -> GgufValue option) -> bool
    /// Modules of a checkpoint in the Hugging Face layout, and what GGUF calls them.
    Modules: (string * string) list
    /// Modules whose rows GGUF keeps with rotary pairs side by side, and the keys of how many heads they have.
    Paired: (string * string list) list
    /// Whether the gains of norms count from zero there.
    WholeGains: bool
    /// Tensors that hold nothing of their own.
    Ignored: string list
    /// Parameters that have a tensor of their own there, beside Modules.
    Parts: GgufPart list
    /// Whether YaRN's bounds are whole numbers of turns.
    RoundsYarn: bool
    /// Whether YaRN's readers know a weight of the scores (DeepSeek).
    WeighsScores: bool
}

/// Names of tensors (the specification of GGUF, "Standardized tensor names").
[<RequireQualifiedAccess>]
module GgufNames =
    let private inLayer hub gguf modules =
        modules |> List.map (fun (from, into) -> $"{hub}.{{0}}.{from}", $"blk.{{0}}.{into}")

    let private llamaModules =
        [ "model.embed_tokens", "token_embd"; "model.norm", "output_norm"; "lm_head", "output" ]
        @ inLayer "model.layers" "blk" [
            "input_layernorm", "attn_norm"
            "self_attn.q_proj", "attn_q"
            "self_attn.k_proj", "attn_k"
            "self_attn.v_proj", "attn_v"
            "self_attn.o_proj", "attn_output"
            "self_attn.q_norm", "attn_q_norm"
            "self_attn.k_norm", "attn_k_norm"
            "post_attention_layernorm", "ffn_norm"
            "mlp.gate_proj", "ffn_gate"
            "mlp.up_proj", "ffn_up"
            "mlp.down_proj", "ffn_down"
        ]

    /// Experts are one tensor of a layer, whose first axis counts them.
    let private expertModules hub gate up down =
        inLayer "model.layers" "blk" [
            $"{hub}.gate", "ffn_gate_inp"
            $"{hub}.experts.{{1}}.{gate}", "ffn_gate_exps"
            $"{hub}.experts.{{1}}.{up}", "ffn_up_exps"
            $"{hub}.experts.{{1}}.{down}", "ffn_down_exps"
        ]

    let private qwenExperts = expertModules "mlp" "gate_proj" "up_proj" "down_proj"

    let private sharedExpert =
        inLayer "model.layers" "blk" [
            "mlp.shared_expert.gate_proj", "ffn_gate_shexp"
            "mlp.shared_expert.up_proj", "ffn_up_shexp"
            "mlp.shared_expert.down_proj", "ffn_down_shexp"
            "mlp.shared_expert_gate", "ffn_gate_inp_shexp"
        ]

    let private sandwichModules =
        inLayer "model.layers" "blk" [
            "post_attention_layernorm", "post_attention_norm"
            "pre_feedforward_layernorm", "ffn_norm"
            "post_feedforward_layernorm", "post_ffw_norm"
        ]

    let private fusedModules =
        inLayer "model.layers" "blk" [ "self_attn.qkv_proj", "attn_qkv"; "mlp.gate_up_proj", "ffn_up" ]

    let private sinkModules =
        inLayer "model.layers" "blk" [
            "post_attention_layernorm", "post_attention_norm"
            "self_attn", "attn_sinks"
            "mlp.router", "ffn_gate_inp"
        ]

    let private part hub isFirst name = {
        Hub = $"model.layers.{{0}}.{hub}"
        IsFirst = isFirst
        Name = $"blk.{{0}}.{name}"
        HeadsApart = false
        Turned = false
    }

    let private clampedExperts = [
        for matrix, isFirst, name in [ "gate_up", true, "gate"; "gate_up", false, "up"; "down", true, "down" ] do
            for suffix, leaf in [ "", "weight"; "_bias", "bias" ] do
                part $"mlp.experts.{matrix}_proj{suffix}" isFirst $"ffn_{name}_exps.{leaf}"
    ]

    let private latentModules =
        inLayer "model.layers" "blk" [
            for matrix in [ "q_a"; "q_b"; "kv_b" ] do
                $"self_attn.{matrix}_proj", $"attn_{matrix}"
            "self_attn.kv_a_proj_with_mqa", "attn_kv_a_mqa"
            "self_attn.q_a_layernorm", "attn_q_a_norm"
            "self_attn.kv_a_layernorm", "attn_kv_a_norm"
            for matrix in [ "gate"; "up"; "down" ] do
                $"mlp.shared_experts.{matrix}_proj", $"ffn_{matrix}_shexp"
        ]

    let private correction = part "mlp.gate.e_score_correction_bias" true "exp_probs_b.bias"

    /// Keys and values of latents are expanded by a matrix a head, the keys' transposed, so that queries can be multiplied with it.
    let private expansions =
        let ofHeads isFirst name turned = {
            part "self_attn.kv_b_proj.weight" isFirst name with
                HeadsApart = true
                Turned = turned
        }

        [ ofHeads true "attn_k_b.weight" true; ofHeads false "attn_v_b.weight" false ]

    let private gpt2Modules =
        [ "wte", "token_embd"; "wpe", "position_embd"; "ln_f", "output_norm" ]
        @ inLayer "h" "blk" [
            "ln_1", "attn_norm"
            "attn.c_attn", "attn_qkv"
            "attn.c_proj", "attn_output"
            "ln_2", "ffn_norm"
            "mlp.c_fc", "ffn_up"
            "mlp.c_proj", "ffn_down"
        ]

    let internal heads = [ "num_attention_heads"; "n_head" ]
    let internal keyHeads = "num_key_value_heads" :: heads

    let private llamaLike name = {
        Name = name
        ModelType = name
        IsTold = fun _ -> true
        Modules = llamaModules
        Paired = []
        WholeGains = false
        Ignored = []
        Parts = []
        RoundsYarn = true
        WeighsScores = false
    }

    /// The first line of a module counts.
    let private also modules (architecture: GgufArchitecture) = {
        architecture with
            Modules = modules @ architecture.Modules
    }

    let private llama = {
        llamaLike "llama" with
            Paired = [ "blk.{0}.attn_q", heads; "blk.{0}.attn_k", keyHeads ]
            Ignored = [ "rope_freqs.weight" ]
    }

    let private hasExperts value =
        match value "expert_count" with
        | Some(Whole count) -> count > 0L
        | _ -> false

    /// Files of before heads had matrices of their own name one for all.
    let private hasHeadsApart value = Option.isSome (value "attention.key_length_mla")

    /// What expert_gating_func calls weights by sigmoids, and what by softmax.
    let internal sigmoids, internal softmaxes = 2L, 1L

    let private deepseek modelType scores extra =
        let kind =
            { llamaLike "deepseek2" with ModelType = modelType; WeighsScores = true }
            |> also (latentModules @ qwenExperts)

        let isTold value = scores (value "expert_gating_func" = Some(Whole sigmoids))

        [
            {
                kind with
                    IsTold = fun value -> isTold value && hasHeadsApart value
                    Parts = expansions @ extra
            }
            { kind with IsTold = isTold; Parts = extra }
        ]

    /// Where several have a name, the first whose keys a file has counts; of a family, the first is written.
    let all = [
        { llama with ModelType = "mixtral"; IsTold = hasExperts }
        |> also (expertModules "block_sparse_moe" "w1" "w3" "w2")
        llama
        llamaLike "qwen2"
        llamaLike "qwen3"
        { llamaLike "qwen2moe" with ModelType = "qwen2_moe" } |> also (qwenExperts @ sharedExpert)
        { llamaLike "qwen3moe" with ModelType = "qwen3_moe" } |> also qwenExperts
        { llamaLike "gemma" with WholeGains = true }
        { llamaLike "gemma2" with WholeGains = true } |> also sandwichModules
        { llamaLike "gemma3" with ModelType = "gemma3_text"; WholeGains = true } |> also sandwichModules
        {
            llamaLike "phi3" with
                Ignored = [ "rope_factors_short.weight"; "rope_factors_long.weight" ]
        }
        |> also fusedModules
        {
            llamaLike "gpt-oss" with
                ModelType = "gpt_oss"
                Parts = clampedExperts
                RoundsYarn = false
        }
        |> also sinkModules
        yield! deepseek "deepseek_v3" id [ correction ]
        yield! deepseek "deepseek_v2" not []
        // The head is the embedding; some writers repeat it.
        {
            Name = "gpt2"
            ModelType = "gpt2"
            IsTold = fun _ -> true
            Modules = gpt2Modules
            Paired = []
            WholeGains = false
            Ignored = [ "output.weight" ]
            Parts = []
            RoundsYarn = true
            WeighsScores = false
        }
    ]

    let private known choose = all |> List.map choose |> List.distinct |> String.concat ", "

    /// The architecture that general.architecture names.
    /// <param name="value">A value of the file's metadata by its key after the name.</param>
    /// <exception cref="ModelError">Legato has no such.</exception>
    let ofName name value =
        match all |> List.tryFind (fun a -> a.Name = name && a.IsTold value) with
        | Some found -> found
        | None ->
            raise (
                ModelError(
                    $"the architecture '{name}' is not known",
                    "general.architecture",
                    $"known are: {known _.Name}"
                )
            )

    /// The architecture of a config's family.
    /// <exception cref="ModelError">GGUF's names for it are not known.</exception>
    let ofModelType modelType =
        match all |> List.tryFind (fun a -> a.ModelType = modelType) with
        | Some found -> found
        | None ->
            let what = $"what GGUF calls the parts of a '{modelType}' is not known"
            Config.fail what "model_type" $"known are: {known _.ModelType}"

    let private renamed architecture heads (line: WeightName) =
        let cut = line.Name.LastIndexOf '.'
        let hub, suffix = line.Name[.. cut - 1], line.Name[cut..]
        let isFirst = line.Part |> Option.forall (fun p -> p.Start = 0)
        let alone = architecture.Parts |> List.tryFind (fun p -> p.Hub = line.Name && p.IsFirst = isFirst)

        match architecture.Modules |> List.tryFind (fun (name, _) -> name = hub), alone with
        | _, Some part -> {
            line with
                Name = part.Name
                Transposed = part.Turned
                RowsApart = part.HeadsApart
                Part = None
          }
        | Some(_, name), None when suffix = ".sinks" -> { line with Name = name + ".weight" }
        | None, None ->
            let what = $"GGUF has no name for {line.Name} of a {architecture.Name}"
            raise (ModelError(what, line.Path, "keep this model in the Hugging Face layout"))
        | Some(_, name), None -> {
            // GGUF keeps every matrix as [out, in]; what was cut along the columns of the other is cut along rows.
            line with
                Name = name + suffix
                Transposed = false
                Part = line.Part |> Option.map (fun p -> if line.Transposed then { p with Axis = 1 - p.Axis } else p)
                PairedHeads =
                    architecture.Paired
                    |> List.tryFind (fun (paired, _) -> paired = name)
                    |> Option.map (snd >> heads)
                    |> Option.defaultValue 0
                Added = if architecture.WholeGains && name.EndsWith "norm" then 1.0 else 0.0
          }

    let private tellsLater = [ "eh_proj"; "embed_tokens"; "enorm"; "hnorm"; "shared_head_head"; "shared_head_norm" ]

    /// Tensors of a block that tells a later token: those of any block, and its own.
    let ofLaterBlock architecture (block: int) =
        [
            for _, name in architecture.Modules do
                for leaf in [ "weight"; "bias" ] -> $"{name}.{leaf}"
            for part in architecture.Parts -> part.Name
            for name in tellsLater -> $"blk.{{0}}.nextn.{name}.weight"
        ]
        |> List.filter _.StartsWith("blk.")
        |> List.map _.Replace("{0}", string block)

    /// The model under GGUF's names.
    /// <param name="ignored">Tensors that a file has which the model doesn't read.</param>
    /// <exception cref="ModelError">GGUF has no name for one of its tensors.</exception>
    let rename architecture ignored (model: ModelDef) : ModelDef =
        let config = JsonNode.Parse(model.Config).AsObject()

        let number (keys: string list) =
            keys |> List.pick (fun key -> config[key] |> Option.ofObj |> Option.map _.GetValue<int>())

        {
            model with
                Weights = {
                    Names = model.Weights.Names |> List.map (renamed architecture number)
                    Prefixes = [ "" ]
                    Ignored = ignored @ architecture.Ignored
                }
        }
