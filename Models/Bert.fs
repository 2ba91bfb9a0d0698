/// BERT (Devlin et al. 2019), for masked language modelling and with heads that score the classes of texts and tokens.
module Legato.Models.Bert

open Legato.Dsl

let private layer path name = named $"model.encoder.layers.{path}" $"bert.encoder.layer.{{0}}.{name}"

let table = {
    Table.ofModules [
        named "model.encoder.tokens" "bert.embeddings.word_embeddings"
        named "model.encoder.positions" "bert.embeddings.position_embeddings"
        named "model.encoder.segments" "bert.embeddings.token_type_embeddings"
        named "model.encoder.embed_norm" "bert.embeddings.LayerNorm"
        layer "attn.q" "attention.self.query"
        layer "attn.k" "attention.self.key"
        layer "attn.v" "attention.self.value"
        layer "attn.o" "attention.output.dense"
        layer "attn_norm" "attention.output.LayerNorm"
        layer "mlp.up" "intermediate.dense"
        layer "mlp.down" "output.dense"
        layer "mlp_norm" "output.LayerNorm"
        named "model.head.dense" "cls.predictions.transform.dense"
        named "model.head.norm" "cls.predictions.transform.LayerNorm"
        named "model.pool" "bert.pooler.dense"
        named "model.scores" "classifier"
    ] with
        Tensors = [ named "model.head.bias" "cls.predictions.bias" ]
        Ignored = [
            "bert.embeddings.position_ids"
            "bert.pooler.dense.weight"
            "bert.pooler.dense.bias"
            "cls.predictions.decoder.weight"
            "cls.predictions.decoder.bias"
            "cls.seq_relationship.weight"
            "cls.seq_relationship.bias"
        ]
}

let ofConfig json =
    Config.demand "tie_word_embeddings" true json
    Encoder.ofConfig 0 0 json |> Encoder.model "bert" json table
