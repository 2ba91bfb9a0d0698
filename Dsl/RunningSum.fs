namespace Legato.Dsl

/// What linear attention keeps of earlier positions, however many they are: the sums of their keys' products with their values,
/// and of their keys (Katharopoulos et al. 2020, equations 16 to 20).
[<Sealed>]
type RunningSum<'Heads, 'Key, 'Value> internal (grow: (string -> Node -> Node -> Node -> Node) option) =
    /// Causal linear attention of the call's queries and keys, which a feature map has made positive: to the positions in the
    /// sum, and to those of the call up to the query's. Several query heads may share a key head.
    member _.Attend
        (q: Tensor<'B * Seq, 'H * 'Key>, k: Tensor<'B * Seq, 'Heads * 'Key>, v: Tensor<'B * Seq, 'Heads * 'Value>)
        : Tensor<'B * Seq, 'H * 'Value> =
        match grow with
        | Some grow -> Tensor(grow (List.exactlyOne axisNames<'H>) q.Node k.Node v.Node)
        | None ->
            let context x = asPositions<Seq, Context, 'B, _> x
            attendLinear causal q (context k) (context v)

[<AutoOpen>]
module RunningSums =
    let private one<'Axis> = List.exactlyOne axisNames<'Axis>

    /// The axis of a key's features in the sums.
    let sumFeature = "Sum.Feature"

    // A key and its value may have features of one name, and a query meets the keys of its own call.
    let private summed, private key = "Sum.Value", "Sum.Key"

    /// Zeros where the row begins with this call.
    let private before past state = Node.map (If(Bin(Equal, Arg 0, Int 0L), Num 0.0, Arg 1)) [ past; state ]

    /// The sum for each query, and the total that it is a share of.
    let private growing name (heads: Axis<'Heads>) (keys: Axis<'Key>) (values: Axis<'Value>) (scope: Scope) =
        let batch = { Name = "Batch"; Size = scope.Sizes.Batch }
        let rows = batch :: heads.Dims @ [ { keys.Dims.Head with Name = sumFeature } ]
        let sums, tellSums = scope.State(name + "_sum", rows @ [ { values.Dims.Head with Name = summed } ])
        let totals, tellTotals = scope.State(name + "_total", rows)

        let featured = Node.rename [ one<'Key>, sumFeature ]

        fun (q: Node) (k: Node) (v: Node) ->
            let past, last = Node.input "past" [ batch ] Integer, Node.input "last" [ batch ] Integer
            // Behind a row's last token stands padding.
            let isText = Bin(LessOrEqual, Arg 0, Arg 1)
            let q, k = featured q, featured k
            let k = Node.map (If(isText, Arg 2, Num 0.0)) [ Node.iota (Node.dim "Seq" k); last; k ]
            let v = Node.rename [ one<'Value>, summed ] v
            let earlier, earlierTotal = before past sums, before past totals

            let all, allTotal =
                Node.add earlier (Node.contract [ "Seq" ] k v), Node.add earlierTotal (Node.reduce Sum [ "Seq" ] k)

            tellSums (Node.broadcast sums.Dims all)
            tellTotals (Node.broadcast totals.Dims allTotal)
            let read = Node.contract [ sumFeature ] q

            match scope.Sizes.Sequence with
            | Fixed 1L -> read all, read allTotal
            | _ ->
                let ofCall = Node.rename [ "Seq", key ]
                let isSeen = Bin(LessOrEqual, Arg 0, Arg 1)
                let keys = ofCall k
                let places = [ Node.iota (Node.dim key keys); Node.iota (Node.dim "Seq" q) ]
                let weights = Node.map (If(isSeen, Arg 2, Num 0.0)) (places @ [ read keys ])

                Node.add (read earlier) (Node.contract [ key ] weights (ofCall v)),
                Node.add (read earlierTotal) (Node.reduce Sum [ key ] weights)

    let private attend grow (heads: string) keyHeads value (q: Node) (k: Node) (v: Node) =
        let group = { Name = heads + ".Group"; Size = Fixed(Node.size heads q / Node.size keyHeads k) }
        let isShared = heads <> keyHeads
        let sum, total = grow (if isShared then Node.split heads (Node.dim keyHeads k) group q else q) k v

        // A query whose features are all zero sees nothing.
        let share =
            Node.map (If(Bin(Equal, Arg 1, Num 0.0), Num 0.0, Arg 0 / Arg 1)) [ sum; total ]
            |> Node.rename [ summed, value ]

        if isShared then Node.merge keyHeads group.Name heads share else share

    /// The sums of linear attention in the place of a cache: what a position costs and what is kept of it don't depend on how many
    /// came before. In a call that is all there is, as in training, `Attend` is `attendLinear`.
    let runningSum
        name
        (heads: Axis<'Heads>)
        (keys: Axis<'Key>)
        (values: Axis<'Value>)
        : Layer<RunningSum<'Heads, 'Key, 'Value>> =
        Layer(fun scope ->
            let grow () =
                let grow = growing name heads keys values scope
                fun queryHeads -> attend grow queryHeads one<'Heads> one<'Value>

            RunningSum(if scope.Sizes.IsCached then Some(grow ()) else None))
