/// What training adds for mixtures of experts: losses that spread tokens over the experts and keep the routers' logits
/// small, each expert's share of the tokens, and the biases that follow those shares outside of the gradient.
module Legato.Compiler.Balance

open Legato.Dsl

let private others (report: RouterReport) (node: Node) = node.Axes |> List.except [ report.Experts.Name ]
let private sizeOf axes node = axes |> List.fold (fun n axis -> n * float (Node.size axis node)) 1.0
let private layers (report: RouterReport) = sizeOf (others report report.Load) report.Load
let private scaled factor (node: Node) = Node.map1 (fun x -> Num factor * x) node
let private total (nodes: Node list) = nodes |> List.reduce Node.add

/// Means over all tokens of all layers that a loss of this weight sees.
let private means tokens (reports: RouterReport list) (pick: RouterReport -> Node) =
    let count = tokens * (reports |> List.sumBy layers)
    let sum report = let x = pick report in Node.reduce Sum (others report x) x
    reports |> List.map sum |> total |> scaled (1.0 / count)

/// Experts · Σ share of the choices · mean probability over the experts (Fedus et al. 2021, equation 4), the means taken
/// over all layers together.
let private balance tokens (reports: RouterReport list) =
    let experts = float (Node.size reports.Head.Experts.Name reports.Head.Load)
    let product = Node.mul (means tokens reports _.Load) (means tokens reports _.Probability)
    Node.reduce Sum product.Axes product |> scaled (experts * reports.Head.Balance)

/// The mean squared log-sum-exp of the logits (Zoph et al. 2022, equation 5).
let private spread tokens (reports: RouterReport list) = means tokens reports _.Spread |> scaled reports.Head.ZLoss

/// What a training step adds to its loss, for a call of so many tokens; routers of one weight count together.
let losses (tokens: float) (reports: RouterReport list) : Node list =
    let weighted weight loss =
        reports
        |> List.filter (fun r -> weight r <> 0.0)
        |> List.groupBy (fun r -> weight r, r.Experts)
        |> List.map (snd >> loss tokens)

    weighted _.Balance balance @ weighted _.ZLoss spread

/// Each expert's share of a router's choices; the shares sum to one.
let shares (tokens: float) (report: RouterReport) : Node = report.Load |> scaled (1.0 / (tokens * float report.Chosen))

/// Each router's bias with its next value: a step up where the expert's share is below the mean, down where it is above
/// (Wang et al. 2024, algorithm 1).
let corrections (reports: RouterReport list) (shares: Node list) : (Node * Node) list =
    List.zip reports shares
    |> List.choose (fun (report, share) ->
        report.Correction
        |> Option.map (fun (bias, speed) ->
            let mean = Num(1.0 / float (Node.size report.Experts.Name share))
            let direction = If(Bin(Less, Arg 1, mean), Num speed, If(Bin(Less, mean, Arg 1), Num -speed, Num 0.0))
            bias, Node.map (Arg 0 + direction) [ bias; share ]))
