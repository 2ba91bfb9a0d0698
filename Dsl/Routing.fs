namespace Legato.Dsl

[<AutoOpen>]
module Routing =
    let private softmaxOver axes (x: Node) =
        let peak = Node.reduce Maximum axes x
        let e = Node.map2 (fun a m -> Un(Exp, a - Un(Detach, m))) x peak
        Node.map2 (/) e (Node.reduce Sum axes e)

    /// exp(x) normalised over the features.
    let softmax (x: Tensor<'Pos, 'Feat>) : Tensor<'Pos, 'Feat> = Tensor(softmaxOver (axisNames<'Feat>) x.Node)

    /// A mixture of experts over any dense layer: each token is sent to the `chosen` experts that a linear router scores
    /// highest, and their outputs are added with the router's weights, normalised over the chosen (Jiang et al. 2024,
    /// section 2.1). Puts the expert axis before every parameter inside.
    let routed
        (experts: Axis<'Expert>)
        (chosen: int)
        (inner: Layer<Tensor<'Pos, 'Feat> -> Tensor<'Pos, 'Feat>>)
        : Layer<Tensor<'Pos, 'Feat> -> Tensor<'Pos, 'Feat>> =
        Layer(fun scope ->
            let dim = List.exactlyOne experts.Dims

            if chosen < 1 || chosen > experts.Size then
                raise (
                    ModelError(
                        $"a token can't be sent to {chosen} of {experts.Size} experts",
                        scope.PathOf "router",
                        "choose between 1 and all"
                    )
                )

            let f = inner.Elaborate(scope.Framed(Widened dim))

            let feature = axisNames<'Feat>
            // The features' sizes are those of the first input.
            let cell = ref null

            let router (x: Node) =
                if isNull cell.Value then
                    let features = x.Dims |> List.filter (fun d -> List.contains d.Name feature)
                    cell.Value <- (scope.Within "router").Declare("weight", [ [ dim ]; features ], Normal 0.02, true)

                cell.Value

            let apply (x: Tensor<'Pos, 'Feat>) : Tensor<'Pos, 'Feat> =
                let weight = router x.Node
                let logits = Node.contract feature x.Node weight
                let rank = { Name = "Rank"; Size = Fixed(int64 chosen) }
                let top = Node.make (Op.TopK(dim.Name, rank)) [ logits ]
                let scores, indices = Node.item 0 top, Node.item 1 top
                let weights = softmaxOver [ "Rank" ] scores
                // Dense meaning: every expert sees every token, and those not chosen count for nothing.
                let gates =
                    Node.map (If(Bin(Equal, Arg 1, Arg 2), Arg 0, Num 0.0)) [ weights; indices; Node.iota dim ]
                    |> Node.reduce Sum [ "Rank" ]

                let y = f x
                Tensor(Node.contract [ dim.Name ] gates y.Node)

            apply)
