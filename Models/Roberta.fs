/// RoBERTa (Liu et al. 2019): BERT with one segment, its positions counted from behind the padding token's number.
module Legato.Models.Roberta

open Legato.Dsl

let private layer path name = named $"model.encoder.layers.{path}" $"roberta.encoder.layer.{{0}}.{name}"

let table = {
    Table.ofModules [
        named "model.encoder.tokens" "roberta.embeddings.word_embeddings"
        named "model.encoder.positions" "roberta.embeddings.position_embeddings"
        named "model.encoder.segments" "roberta.embeddings.token_type_embeddings"
        named "model.encoder.embed_norm" "roberta.embeddings.LayerNorm"
        layer "attn.q" "attention.self.query"
        layer "attn.k" "attention.self.key"
        layer "attn.v" "attention.self.value"
        layer "attn.o" "attention.output.dense"
        layer "attn_norm" "attention.output.LayerNorm"
        layer "mlp.up" "intermediate.dense"
        layer "mlp.down" "output.dense"
        layer "mlp_norm" "output.LayerNorm"
        named "model.head.dense" "lm_head.dense"
        named "model.head.norm" "lm_head.layer_norm"
        named "model.pool" "classifier.dense"
        named "model.scores" "classifier.out_proj"
    ] with
        Tensors = [ named "model.head.bias" "lm_head.bias" ]
        Ignored = [
            "roberta.embeddings.position_ids"
            "roberta.pooler.dense.weight"
            "roberta.pooler.dense.bias"
            "lm_head.decoder.weight"
            "lm_head.decoder.bias"
        ]
}

// The scores of tokens' classes have no layer before them, and a shorter name.
let private tableOf json =
    match Config.tryStrings [ "architectures" ] json with
    | Some [ "RobertaForTokenClassification" ] -> {
        table with
            Modules = named "model.scores" "classifier" :: table.Modules
      }
    | _ -> table

let ofConfig json =
    Config.demand "tie_word_embeddings" true json
    let usual = 1
    let padding = Config.intOr usual [ "pad_token_id" ] json
    Encoder.ofConfig usual (padding + 1) json |> Encoder.model "roberta" json (tableOf json)
