namespace Legato.Models

open Legato.Dsl

/// A named model: its config, read as a checkpoint folder's is.
type Preset = {
    Name: string
    About: string
    /// The text of its config.json.
    Config: string
}

[<RequireQualifiedAccess>]
module Presets =
    /// JSON that is written already.
    type private Written = Written of string

    let private written (value: obj) =
        match value with
        | null -> "null"
        | :? Written as Written text -> text
        | :? string as text -> $"\"{text}\""
        | :? bool as truth -> if truth then "true" else "false"
        | :? Option<int> as number -> string number.Value
        | number -> (string number).ToLowerInvariant()

    let private (=>) (key: string) value = $"\"{key}\": {written (box value)}"

    let private object indent keys =
        let lines = keys |> List.map (fun key -> $"{indent}  {key}") |> String.concat ",\n"
        $"{{\n{lines}\n{indent}}}"

    let private config (architecture: string) (modelType: string) keys =
        let named = [ "architectures" => Written $"[ \"{architecture}\" ]"; "model_type" => modelType ]
        object "" (named @ keys) + "\n"

    let private endOfText = 50256

    let private gpt name about vocab context layers embed heads =
        let ends = if vocab > endOfText then Some endOfText else None

        {
            Name = name
            About = about
            Config =
                config "GPT2LMHeadModel" "gpt2" [
                    "vocab_size" => vocab
                    "n_positions" => context
                    "n_layer" => layers
                    "n_embd" => embed
                    "n_head" => heads
                    "activation_function" => "gelu_new"
                    "layer_norm_epsilon" => 1e-5
                    "initializer_range" => 0.02
                    "bos_token_id" => ends
                    "eos_token_id" => ends
                    "tie_word_embeddings" => true
                ]
        }

    let private gpt2 size = gpt $"gpt2-{size}" $"GPT-2 {size} (Radford et al. 2019)" 50257 1024

    /// Brown et al. 2020, table 2.1. Two of its rows don't add up: at 24 heads of 128 the 1.3b model would be wider inside
    /// than its 2048, and 5140 is no multiple of the 13b model's heads of 128; here they have 16 heads, and 5120.
    let private gpt3 size = gpt $"gpt3-{size}" $"GPT-3 {size} (Brown et al. 2020)" 50257 2048

    type private LlamaSizes = {
        Vocab: int
        Context: int
        Layers: int
        Embed: int
        Heads: int
        KvHeads: int
        Mlp: int
        Theta: float
        /// LLaMA 3's stretch of the positions, from its first context of 8,192.
        Stretch: float option
        Tied: bool
        Deviation: float
        Tokens: (int * int) option
    }

    let private llamaKeys c = [
        "vocab_size" => c.Vocab
        "max_position_embeddings" => c.Context
        "num_hidden_layers" => c.Layers
        "hidden_size" => c.Embed
        "num_attention_heads" => c.Heads
        "num_key_value_heads" => c.KvHeads
        "intermediate_size" => c.Mlp
        "hidden_act" => "silu"
        "rope_theta" => c.Theta
        match c.Stretch with
        | None -> ()
        | Some factor ->
            "rope_scaling"
            => Written(
                object "  " [
                    "rope_type" => "llama3"
                    "factor" => factor
                    "low_freq_factor" => 1.0
                    "high_freq_factor" => 4.0
                    "original_max_position_embeddings" => 8192
                ]
            )
        "rms_norm_eps" => 1e-5
        "initializer_range" => c.Deviation
        "bos_token_id" => Option.map fst c.Tokens
        "eos_token_id" => Option.map snd c.Tokens
        "tie_word_embeddings" => c.Tied
    ]

    let private llama name about c = {
        Name = name
        About = about
        Config = config "LlamaForCausalLM" "llama" (llamaKeys c)
    }

    /// The same with mixtures of experts of the width, two of them for each token.
    let private mixtral name about (experts: int) c =
        let own = [
            "num_local_experts" => experts
            "num_experts_per_tok" => 2
            "output_router_logits" => true
            "router_aux_loss_coef" => 0.02
        ]

        {
            Name = name
            About = about
            Config = config "MixtralForCausalLM" "mixtral" (llamaKeys c @ own)
        }

    let private llama3of8b = {
        Vocab = 128256
        Context = 8192
        Layers = 32
        Embed = 4096
        Heads = 32
        KvHeads = 8
        Mlp = 14336
        Theta = 500000.0
        Stretch = None
        Tied = false
        Deviation = 0.02
        Tokens = Some(128000, 128001)
    }

    // Published with its head tied; --set tie_word_embeddings=true gives that.
    let private llama3of1b = {
        llama3of8b with
            Context = 131072
            Layers = 16
            Embed = 2048
            Mlp = 8192
            Stretch = Some 32.0
    }

    let private mixtral8x7b = { llama3of8b with Vocab = 32000; Context = 32768; Theta = 1e6; Tokens = Some(1, 2) }

    let private llama1b = {
        mixtral8x7b with
            Context = 2048
            Layers = 16
            Embed = 2048
            Mlp = 8192
            Theta = 10000.0
    }

    let private llama100m = {
        llama1b with
            Layers = 12
            Embed = 768
            Heads = 12
            KvHeads = 4
            Mlp = 2048
            Tied = true
    }

    // The models below take the vocabulary of the tokenizer that they are trained with; until then, bytes.
    let private llamaTiny = {
        llama100m with
            Vocab = 256
            Context = 128
            Layers = 2
            Embed = 64
            Heads = 4
            KvHeads = 2
            Mlp = 128
            Tokens = None
    }

    // Two experts of the mixture are as wide as the dense feed-forward.
    let private llamaSmall = {
        llamaTiny with
            Context = 512
            Layers = 4
            Embed = 384
            Heads = 6
            KvHeads = 6
            Mlp = 1024
    }

    // At a width of 96 matrices that start at 0.07 learn several times as fast as at the 0.02 of wide models.
    let private demo = { llamaTiny with Layers = 4; Embed = 96; KvHeads = 4; Mlp = 256; Deviation = 0.07 }

    let private bert name about vocab context layers embed heads = {
        Name = name
        About = about
        Config =
            config "BertForMaskedLM" "bert" [
                "vocab_size" => vocab
                "max_position_embeddings" => context
                "type_vocab_size" => 2
                "num_hidden_layers" => layers
                "hidden_size" => embed
                "num_attention_heads" => heads
                "intermediate_size" => (4 * embed)
                "hidden_act" => "gelu"
                "layer_norm_eps" => 1e-12
                "initializer_range" => 0.02
                "pad_token_id" => 0
                "tie_word_embeddings" => true
            ]
    }

    let private t5 name about vocab context layers embed heads headDim mlp = {
        Name = name
        About = about
        Config =
            config "T5ForConditionalGeneration" "t5" [
                "vocab_size" => vocab
                "n_positions" => context
                "num_layers" => layers
                "num_decoder_layers" => layers
                "d_model" => embed
                "num_heads" => heads
                "d_kv" => headDim
                "d_ff" => mlp
                "feed_forward_proj" => "relu"
                "relative_attention_num_buckets" => 32
                "relative_attention_max_distance" => 128
                "layer_norm_epsilon" => 1e-6
                "pad_token_id" => 0
                "eos_token_id" => 1
                "decoder_start_token_id" => 0
                "tie_word_embeddings" => true
            ]
    }

    let private bart name about vocab context layers embed heads = {
        Name = name
        About = about
        Config =
            config "BartForConditionalGeneration" "bart" [
                "vocab_size" => vocab
                "max_position_embeddings" => context
                "encoder_layers" => layers
                "decoder_layers" => layers
                "d_model" => embed
                "encoder_attention_heads" => heads
                "decoder_attention_heads" => heads
                "encoder_ffn_dim" => (4 * embed)
                "decoder_ffn_dim" => (4 * embed)
                "activation_function" => "gelu"
                "init_std" => 0.02
                "scale_embedding" => false
                "bos_token_id" => 0
                "pad_token_id" => 1
                "eos_token_id" => 2
                "decoder_start_token_id" => 2
                "tie_word_embeddings" => true
            ]
    }

    let all = [
        llama "demo" "the small LLaMA of the main job: under two minutes of training on two cores" demo
        gpt2 "124m" 12 768 12
        gpt2 "350m" 24 1024 16
        gpt2 "774m" 36 1280 20
        gpt2 "1.5b" 48 1600 25
        gpt "gpt2-tiny" "a GPT-2 for tests" 256 128 2 64 4
        gpt "gpt2-10m" "a GPT-2 for characters or bytes: 6 layers of 384" 256 256 6 384 6
        gpt3 "125m" 12 768 12
        gpt3 "350m" 24 1024 16
        gpt3 "760m" 24 1536 16
        gpt3 "1.3b" 24 2048 16
        gpt3 "2.7b" 32 2560 32
        gpt3 "6.7b" 32 4096 32
        gpt3 "13b" 40 5120 40
        gpt3 "175b" 96 12288 96
        bert "bert-110m" "BERT base (Devlin et al. 2019), for --objective masked" 30522 512 12 768 12
        bert "bert-tiny" "a BERT for tests" 512 128 2 64 4
        t5 "t5-60m" "T5 small (Raffel et al. 2020), for --objective spans" 32128 512 6 512 8 64 2048
        t5 "t5-tiny" "a T5 for tests" 256 128 2 64 4 16 128
        bart "bart-139m" "BART base (Lewis et al. 2019), for --objective denoise" 50265 1024 6 768 12
        bart "bart-tiny" "a BART for tests" 256 128 2 64 4
        llama "llama-3-8b" "LLaMA 3 8B (Grattafiori et al. 2024)" llama3of8b
        llama "llama-3-1b" "LLaMA 3.2 1B (Meta 2024), its head not tied" llama3of1b
        llama "llama-1b" "a LLaMA of 1.1 billion parameters" llama1b
        llama "llama-100m" "a LLaMA of 100 million parameters, its head tied" llama100m
        llama "llama-small" "a LLaMA as active as mixtral-small, to compare" llamaSmall
        llama "llama-tiny" "a LLaMA for tests" llamaTiny
        mixtral "mixtral-8x7b" "Mixtral 8x7B (Jiang et al. 2024)" 8 mixtral8x7b
        mixtral "mixtral-small" "a Mixtral of eight narrow experts" 8 { llamaSmall with Mlp = 512 }
        mixtral "mixtral-tiny" "a Mixtral for tests" 4 llamaTiny
    ]

    /// <exception cref="ModelError">No preset has that name.</exception>
    let find (name: string) : Preset =
        let names = all |> List.map _.Name

        match all |> List.tryFind (fun preset -> preset.Name = name) with
        | Some preset -> preset
        | None ->
            let nearest =
                match Nearest.related 3 name names with
                | [] -> ""
                | several -> $"""the nearest: {String.concat ", " several}; """

            raise (ModelError($"no preset is called '{name}'", name, $"{nearest}`legato models` lists all"))

    /// The preset's model, under the preset's name.
    let model (preset: Preset) : ModelDef = { Families.ofConfig preset.Config with Name = preset.Name }

    /// How many numbers the preset's model learns.
    let parameters (preset: Preset) = ModelDef.parameterCount (model preset)
