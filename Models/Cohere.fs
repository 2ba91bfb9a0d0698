/// Command R (Cohere 2024): attention and a SwiGLU feed-forward side by side behind one LayerNorm without bias, rotary
/// positions between neighbours, logits scaled, the head tied.
module Legato.Models.Cohere

open Legato.Models.Blocks
open Legato.Models.Decoder

let ofConfig json =
    let rope = { RopeConfig.plain with Interleaved = true }
    let c = Llama.choicesOf { Llama.defaults with NormEpsilon = 1e-5; TiedHead = true } rope json

    model "cohere" json Llama.table {
        c with
            Norm = LayerNormUnbiased
            Order = Parallel
            QkNorm = if Config.boolOr false [ "use_qk_norm" ] json then GainPerHead else Unnormed
            LogitScale = Config.floatOr 0.0625 [ "logit_scale" ] json
    }
