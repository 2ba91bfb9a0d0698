/// Mixtures of experts in a decoder's place of feed-forwards.
module Legato.Models.Experts

open Legato.Dsl
open Legato.Models.Blocks
open Legato.Models.Decoder

/// The width of one routed expert.
type ExpertMlp = interface end
/// The width of the expert that every token is sent to.
type SharedMlp = interface end
/// One number: how much the shared expert counts.
type SharedGate = interface end

type Mixture = {
    Router: Router
    Experts: Axis<Expert>
    Mlp: Axis<ExpertMlp>
    /// The expert that every token is sent to.
    Shared: Axis<SharedMlp> option
    /// Whether the shared expert is weighed by a sigmoid of each token's own.
    SharedGate: bool
}

let private shared deviation (m: Mixture) (c: FeedForward) (embed: Axis<Embed>) =
    match m.Shared with
    | None -> Layer.value None
    | Some mlp -> layer "shared" {
        let! f = feedForward c embed mlp

        and! gate =
            if m.SharedGate then
                weightOf (Normal deviation) "gate" embed (axis<SharedGate> 1) |> Layer.map Some
            else
                Layer.value None

        return
            match gate with
            | Some gate -> Some(fun x -> f x |> weighedBy (sigmoid (x *@ gate)))
            | None -> Some f
      }

/// Routed experts of one form, and the shared one's output added to theirs.
let mixture (m: Mixture) (c: FeedForward) (embed: Axis<Embed>) = layer "moe" {
    let! experts = routedBy m.Router m.Experts (feedForward c embed m.Mlp)
    and! shared = shared c.Deviation m c embed

    return
        fun x ->
            match shared with
            | Some f -> experts x + f x
            | None -> experts x
}

/// The weight of the load-balancing loss: as transformers has it, that of a config which asks for the routers' logits.
let balance json =
    let weight = Config.floatOr 0.001 [ "router_aux_loss_coef" ] json
    if Config.boolOr false [ "output_router_logits" ] json then weight else 0.0

/// A decoder of these choices whose feed-forwards are mixtures in the layers that `isSparse` picks.
let model modelType json table (m: Mixture) isSparse (attention: LayerKind -> Layer<_>) c =
    let feedForward sparse =
        if sparse then
            mixture m c.FeedForward c.Embed
        else
            feedForward c.FeedForward c.Embed c.Mlp

    let block (kind, sparse) = blockOf c (attention kind) (feedForward sparse)
    let kinds = c.Kinds |> List.mapi (fun i kind -> kind, isSparse i)
    Family.model modelType json c.Vocab c.Context (decoderWith c kinds block) table
