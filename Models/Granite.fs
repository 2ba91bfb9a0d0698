/// Granite 3 (IBM Granite Team 2024): LLaMA with scales on embeddings, scores, residual additions and logits.
module Legato.Models.Granite

open Legato.Models.Decoder

let ofConfig json =
    let scale key = Config.floatOr 1.0 [ key ] json

    model "granite" json Llama.table {
        Llama.choices json with
            EmbedScale = scale "embedding_multiplier"
            ScoreScale = Some(scale "attention_multiplier")
            ResidualScale = scale "residual_multiplier"
            LogitScale = 1.0 / scale "logits_scaling"
    }
