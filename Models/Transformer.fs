/// The transformer of "Attention is all you need" (Vaswani et al. 2017): sinusoidal positions on scaled embeddings,
/// LayerNorm behind each part, ReLU, one table of tokens for both texts and the head. Its checkpoints have BART's names.
module Legato.Models.Transformer

open Legato.Models.EncoderDecoder

let ofConfig json =
    Config.demand "tie_word_embeddings" true json
    let c = Bart.choices json

    model "transformer" json Bart.table {
        c with
            EmbedNorm = false
            Positions = Sinusoidal
            EmbedScale = sqrt (float c.Embed.Size)
            FeedForward = {
                c.FeedForward with
                    Activation = Config.activation "relu" [ "activation_function" ] json
            }
    }
