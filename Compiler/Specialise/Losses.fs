/// From logits and labels to the mean loss of a call's tokens.
module Legato.Compiler.Losses

open Legato.Dsl
open Legato.Runtime.Plans

let private whereAsked value = If(Bin(Less, Arg 0, Int 0L), Num 0.0, value)

/// One over the count of labels that are no negative numbers: what the losses' sum is multiplied by for their mean.
let shareOf (labels: Node) : Node =
    let asked = Node.map1 (fun _ -> whereAsked (Num 1.0)) labels
    // Axis by axis, so that the count is no part of the losses' own sum: loss and gradient go over the logits once.
    let count = labels.Axes |> List.fold (fun sum axis -> Node.reduce Sum [ axis ] sum) asked
    Node.map1 (fun count -> Num 1.0 / Bin(Max, count, Num 1.0)) count

/// Each position's log Σ exp(logits) − logits[label], zero where the label is a negative number.
let crossEntropy (logits: Node) (labels: Node) : Node =
    let vocab = Node.dim "Vocab" logits
    let peak = Node.reduce Maximum [ "Vocab" ] logits
    let total = Node.reduce Sum [ "Vocab" ] (Node.map2 (fun x m -> Un(Exp, x - Un(Detach, m))) logits peak)
    // Labels first: what comes of this without the logits lies token by token too.
    let target = Node.map (If(Bin(Equal, Arg 0, Arg 1), Arg 2, Num 0.0)) [ labels; Node.iota vocab; logits ]
    let picked = Node.reduce Sum [ "Vocab" ] target
    Node.map (whereAsked (Un(Log, Arg 1) + Un(Detach, Arg 2) - Arg 3)) [ labels; total; peak; picked ]

/// A call's labels, as many as its tokens.
let labelsOf dims = Node.input "labels" dims Integer

/// Tokens that a call tells.
type Told = {
    Logits: Node
    Labels: Node
    /// What the sum of the losses is multiplied by.
    Share: Node
}

/// The losses' sums times their shares, each over chunks of the tokens, and what else was asked for, without caches.
let means (told: Told list) (request: PlanRequest) scale beside : ChunkedLoss.Mean list * Node list =
    let losses = told |> List.map (fun t -> crossEntropy t.Logits t.Labels)
    let roots = Uncached.rows request (losses @ (told |> List.map _.Share) @ beside) |> Simplify.graph
    let losses, rest = List.splitAt told.Length roots
    let shares, beside = List.splitAt told.Length rest
    let isTrained = request.Purpose = Purpose.Train

    let mean share losses = ChunkedLoss.mean "Vocab" request.MostLogits share scale isTrained losses
    List.map2 mean shares losses, beside
