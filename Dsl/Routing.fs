namespace Legato.Dsl

open System.Collections.Generic

/// How a router turns its logits into scores.
type Scoring =
    /// Over all experts.
    | Softmax
    /// Each expert by itself.
    | Sigmoid

/// Routing limited to groups of experts (DeepSeek-AI 2024, section 2.1.2): a token is sent to experts of the groups only
/// whose best experts' scores have the largest sums.
type ExpertGroups = {
    Count: int
    Chosen: int
    /// How many of a group's best experts stand for it.
    Best: int
}

/// How tokens choose their experts, and what they weigh.
type Router = {
    /// Experts for each token.
    Chosen: int
    Scoring: Scoring
    /// Whether the weights of a token's experts sum to one.
    Normalised: bool
    /// A factor of all weights.
    Scale: float
    Groups: ExpertGroups option
    /// Whether the logits have a bias.
    Biased: bool
    /// A bias that counts for the choice but not for the weights, and moves by so much a step towards experts that get
    /// less than their share (Wang et al. 2024, algorithm 1).
    Correction: float option
    /// Weight of the load-balancing loss (Fedus et al. 2021, section 2.2).
    Balance: float
    /// Weight of the router z-loss (Zoph et al. 2022, section 3.3).
    ZLoss: float
    Initializer: Initializer
}

[<RequireQualifiedAccess>]
module Router =
    /// The k best by softmax, their weights normalised (Jiang et al. 2024, section 2.1).
    let best chosen : Router = {
        Chosen = chosen
        Scoring = Softmax
        Normalised = true
        Scale = 1.0
        Groups = None
        Biased = false
        Correction = None
        Balance = 0.0
        ZLoss = 0.0
        Initializer = Normal 0.02
    }

[<AutoOpen>]
module Routing =
    let private rank = "Rank"
    let private dim name size = { Name = name; Size = Fixed(int64 size) }

    // Stable: the largest is taken away first.
    let private exponentials axes (x: Node) =
        let peak = Node.reduce Maximum axes x
        let e = Node.map2 (fun a m -> Un(Exp, a - Un(Detach, m))) x peak
        e, Node.reduce Sum axes e, peak

    let private softmaxOver axes (x: Node) =
        let e, total, _ = exponentials axes x
        Node.map2 (/) e total

    /// exp(x) normalised over the features.
    let softmax (x: Tensor<'Pos, 'Feat>) : Tensor<'Pos, 'Feat> = Tensor(softmaxOver (axisNames<'Feat>) x.Node)

    let private topK axis (rank: Dim) x =
        let top = Node.make (Op.TopK(axis, rank)) [ x ]
        Node.item 0 top, Node.item 1 top

    /// The scores, and minus infinity for experts of other groups than the best.
    let private withinGroups (expert: Dim) (count: int) (groups: ExpertGroups) (scores: Node) =
        let group, others = dim "Group" groups.Count, dim "Member" (count / groups.Count)
        let members = Node.split expert.Name group others scores
        let best, _ = topK others.Name (dim "Best" groups.Best) members
        let _, chosen = topK group.Name (dim "Limit" groups.Chosen) (Node.reduce Sum [ "Best" ] best)

        let isChosen =
            Node.map (If(Bin(Equal, Arg 0, Arg 1), Num 1.0, Num 0.0)) [ chosen; Node.iota group ]
            |> Node.reduce Sum [ "Limit" ]

        let lowest = Num System.Double.NegativeInfinity

        Node.map (If(Bin(Less, Num 0.5, Arg 0), Arg 1, lowest)) [ isChosen; members ]
        |> Node.merge group.Name others.Name expert.Name

    let private check (experts: Axis<'Expert>) (router: Router) (scope: Scope) =
        let refuse what remedy = raise (ModelError(what, scope.PathOf "router", remedy))

        if router.Chosen < 1 || router.Chosen > experts.Size then
            refuse $"a token can't be sent to {router.Chosen} of {experts.Size} experts" "choose between 1 and all"

        for groups in Option.toList router.Groups do
            let members = experts.Size / groups.Count

            if experts.Size % groups.Count <> 0 || groups.Best > members then
                refuse
                    $"{experts.Size} experts are no {groups.Count} groups of {groups.Best} or more"
                    "change the groups"

            if groups.Chosen > groups.Count || groups.Chosen * members < router.Chosen then
                refuse $"{groups.Chosen} groups of {members} don't offer {router.Chosen} experts" "choose more groups"

    /// A linear router's choice: for a token its experts' indices and weights, over the axis Rank.
    let private route (experts: Axis<'Expert>) (router: Router) (features: string list) (scope: Scope) =
        let expert = List.exactlyOne experts.Dims
        let scope = scope.Within "router"
        let vector name = scope.Declare(name, [ [ expert ] ], Zeros, false)
        let bias = if router.Biased then Some(vector "bias") else None
        let correction = router.Correction |> Option.map (fun speed -> vector "correction", speed)
        // The features' sizes are those of the first input.
        let weight = ref null

        let weightFor (x: Node) =
            if isNull weight.Value then
                let inputs = x.Dims |> List.filter (fun d -> List.contains d.Name features)
                weight.Value <- scope.Declare("weight", [ [ expert ]; inputs ], router.Initializer, true)

            weight.Value

        let score logits =
            match router.Scoring with
            | Softmax -> softmaxOver [ expert.Name ] logits
            | Sigmoid -> Node.map1 (fun x -> Num 1.0 / (Num 1.0 + Un(Exp, -x))) logits

        let choose scores =
            match correction, router.Groups with
            | None, None -> topK expert.Name (dim rank router.Chosen) scores
            | _ ->
                let corrected =
                    match correction with
                    | Some(bias, _) -> Node.add scores bias
                    | None -> scores

                let limited =
                    router.Groups |> Option.fold (fun x groups -> withinGroups expert experts.Size groups x) corrected

                let _, indices = topK expert.Name (dim rank router.Chosen) limited
                Node.gather expert.Name scores indices, indices

        let report logits scores indices =
            let tokens = scores |> fun (s: Node) -> s.Axes |> List.except [ expert.Name ]
            let isSent = Node.map (If(Bin(Equal, Arg 0, Arg 1), Num 1.0, Num 0.0)) [ indices; Node.iota expert ]
            let _, total, peak = exponentials [ expert.Name ] logits
            let logSumExp = Node.map2 (fun sum m -> Un(Log, sum) + m) total peak

            scope.Report {
                Path = scope.PathOf "load"
                Experts = expert
                Chosen = router.Chosen
                Balance = router.Balance
                ZLoss = router.ZLoss
                Load = Node.reduce Sum (rank :: tokens) isSent
                Probability = Node.reduce Sum tokens scores
                Spread = Node.reduce Sum tokens (Node.mul logSumExp logSumExp)
                Correction = correction
            }

        fun (x: Node) ->
            let logits = Node.contract features x (weightFor x)
            let logits = bias |> Option.fold Node.add logits
            let scores = score logits
            let weights, indices = choose scores
            report logits scores indices

            let weights =
                if router.Normalised then
                    Node.map2 (/) weights (Node.reduce Sum [ rank ] weights)
                else
                    weights

            Node.map1 (fun w -> Num router.Scale * w) weights, indices

    /// What a value over all experts is at each token's chosen ones, computed for those alone: `index` moves down to the
    /// parameters, and a product with a parameter becomes one with the matrix of each row's expert.
    let private atChosen (expert: string) (index: Node) (root: Node) : Node =
        let image = Dictionary<int, Node>()
        let isFree axes = not (List.contains expert axes) && not (axes |> List.exists (fun a -> Node.hasAxis a index))

        let isRows axes (x: Node) = x.Axes |> List.forall (fun a -> List.contains a axes || Node.hasAxis a index)

        let isParameter (n: Node) =
            match n.Op with
            | Op.Param _
            | Op.Input _ -> true
            | _ -> false

        let places (dims: Dim list) =
            dims |> List.collect (fun d -> if d.Name = expert then index.Dims |> List.except dims else [ d ])

        let rec at (n: Node) =
            match image.TryGetValue n.Id with
            | true, found -> found
            | _ when not (Node.hasAxis expert n) -> n
            | _ ->
                let found = pick n
                image[n.Id] <- found
                found

        and pick (n: Node) =
            match n.Op, n.Inputs with
            | Op.Map scalar, inputs -> Node.map scalar (List.map at inputs)
            | Op.Reduce(reduction, axes), [ x ] when isFree axes -> Node.reduce reduction axes (at x)
            | Op.Contract axes, [ a; b ] when
                isFree axes && isParameter b && Node.hasAxis expert b && isRows axes (at a)
                ->
                Node.composite (GroupedProduct { Group = expert; Summed = axes }) [ at a; b; index ]
            | Op.Contract axes, [ a; b ] when isFree axes -> Node.contract axes (at a) (at b)
            | Op.Rename names, [ x ] when isFree (List.map fst names) -> Node.rename names (at x)
            | Op.Split(axis, _, _), [ x ]
            | Op.Slice(axis, _, _), [ x ]
            | Op.Pad(axis, _, _), [ x ] when isFree [ axis ] -> Node.make n.Op [ at x ]
            | Op.Merge(outer, inner, _), [ x ] when isFree [ outer; inner ] -> Node.make n.Op [ at x ]
            | Op.Broadcast dims, [ x ] -> Node.broadcast (places dims) (at x)
            | _ -> Node.gather expert n index

        at root

    /// A mixture of experts over any dense layer: each token is sent to a few experts that a linear router chooses, and
    /// their outputs are added with the router's weights. Puts the expert axis before every parameter inside. Dropless:
    /// work and memory follow the experts chosen, whatever their load.
    let routedBy
        (router: Router)
        (experts: Axis<'Expert>)
        (inner: Layer<Tensor<'Pos, 'Feat> -> Tensor<'Pos, 'Feat>>)
        : Layer<Tensor<'Pos, 'Feat> -> Tensor<'Pos, 'Feat>> =
        Layer(fun scope ->
            check experts router scope
            let expert = List.exactlyOne experts.Dims
            let f = inner.Elaborate(scope.Framed(Widened expert))
            let choose = route experts router axisNames<'Feat> scope

            fun x ->
                let weights, indices = choose x.Node
                let y = atChosen expert.Name indices (f x).Node
                Tensor(Node.reduce Sum [ rank ] (Node.mul y weights)))

    /// routedBy the `chosen` best by softmax, their weights normalised.
    let routed
        (experts: Axis<'Expert>)
        (chosen: int)
        (inner: Layer<Tensor<'Pos, 'Feat> -> Tensor<'Pos, 'Feat>>)
        : Layer<Tensor<'Pos, 'Feat> -> Tensor<'Pos, 'Feat>> =
        routedBy (Router.best chosen) experts inner

    /// Each position's features times the one number that it has.
    let weighedBy (weight: Tensor<'Pos, 'One>) (x: Tensor<'Pos, 'Feat>) : Tensor<'Pos, 'Feat> =
        Tensor(Node.mul x.Node (Node.reduce Sum axisNames<'One> weight.Node))
