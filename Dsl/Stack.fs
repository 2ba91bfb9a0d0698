namespace Legato.Dsl

open System.Collections.Generic

[<AutoOpen>]
module StackFunctions =
    let private reported (report: RouterReport) = [ report.Load; report.Probability; report.Spread ]

    /// The layer `count` times in a row, its parameters with the axis in front: one loop in the plan.
    let stack
        (count: Axis<'Count>)
        (inner: Layer<Tensor<'Pos, 'Feat> -> Tensor<'Pos, 'Feat>>)
        : Layer<Tensor<'Pos, 'Feat> -> Tensor<'Pos, 'Feat>> =
        Layer(fun scope ->
            let dim = List.exactlyOne count.Dims
            let slices, updates, reports = List<Node * Node>(), List<Node * Node>(), List<RouterReport>()
            let f = inner.Elaborate(scope.Framed(Stacked(dim, slices, updates, reports)))

            fun x ->
                let carry = Node.placeholder "carry" x.Node.Dims x.Node.Type
                updates.Clear()
                reports.Clear()
                let y = f (Tensor carry)
                let stacked = slices |> List.ofSeq
                let states = updates |> List.ofSeq
                let told = reports |> List.ofSeq
                let kept = List.map snd states @ List.collect reported told
                let loop = Node.scan dim false [ carry, x.Node ] stacked [ y.Node ] kept
                let wholeOf slice = stacked |> List.find (fun (p, _) -> p = slice) |> snd

                states |> List.iteri (fun i (slice, _) -> scope.Outward.Add(wholeOf slice, Node.item (1 + i) loop))

                told
                |> List.iteri (fun i report ->
                    let item j = Node.item (1 + states.Length + 3 * i + j) loop

                    scope.Report {
                        report with
                            Load = item 0
                            Probability = item 1
                            Spread = item 2
                            Correction = report.Correction |> Option.map (fun (bias, speed) -> wholeOf bias, speed)
                    })

                Tensor(Node.item 0 loop))
