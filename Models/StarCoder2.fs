/// StarCoder 2 (Lozhkov et al. 2024): grouped-query attention and rotary positions with LayerNorm, a GELU feed-forward and
/// biases throughout, perhaps in a sliding window.
module Legato.Models.StarCoder2

open Legato.Dsl
open Legato.Models.Blocks
open Legato.Models.Decoder

let private layer path name = named $"model.layers.{path}" $"model.layers.{{0}}.{name}"
let table = Llama.tableWith [ layer "mlp.up" "mlp.c_fc"; layer "mlp.down" "mlp.c_proj" ]

let ofConfig json =
    let c = Decoder.ofConfig { Widening = None; HeadSize = None; NormEpsilon = 1e-5; TiedHead = true } json
    let bias = Config.boolOr true [ "use_bias" ] json

    let choices = {
        rotary (RopeConfig.read RopeConfig.plain c.Context c.HeadDim json) c with
            Norm = LayerNorm
            QkvBias = bias
            OutBias = bias
            FeedForward = {
                c.FeedForward with
                    Gated = false
                    Biased = bias
                    Activation = Config.activation "gelu_pytorch_tanh" [ "hidden_act" ] json
            }
    }

    choices
    |> sliding (Config.tryInt [ "sliding_window" ] json) (fun _ -> true) json
    |> model "starcoder2" json table
