namespace Legato.Dsl

[<AutoOpen>]
module Attention =
    /// Turns each head's features by the position.
    let rope (settings: Rope) (x: Tensor<'B * Seq, 'H * 'D>) : Tensor<'B * Seq, 'H * 'D> =
        let feature = List.exactlyOne axisNames<'D>
        let size = Node.size feature x.Node
        let rotary = settings.Rotary |> Option.map int64 |> Option.defaultValue size

        if rotary % 2L <> 0L || rotary < 2L || rotary > size then
            raise (
                ModelError(
                    $"rotary positions can't turn {rotary} of {size} features",
                    feature,
                    "turn an even number, at most the head's size"
                )
            )

        let pair = { Name = "Pair"; Size = Fixed(rotary / 2L) }
        let batch = x.Node.Dims |> List.filter (fun d -> d.Name = "Batch")
        let position = Node.add (Node.input "past" batch Integer) (Node.iota (Node.dim "Seq" x.Node))
        let frequency = Node.make (Op.ConstVector(Rope.frequencies settings (int rotary), pair)) []
        let angle = Node.map2 (fun p f -> Un(ToFloat, p) * f) position frequency
        let turn f = Node.map1 (fun a -> Num(Rope.magnitude settings) * Un(f, a)) angle

        let form = {
            Feature = feature
            Rotary = rotary
            Interleaved = settings.Interleaved
            Inverse = false
        }

        Tensor(Node.composite (Composite.Rope form) [ x.Node; turn Cos; turn Sin ])

    /// softmax(scale · q kᵀ, masked) v over the context, for each head. Several query heads may share a key head.
    let attendScaled
        (scale: float)
        (mask: Mask)
        (q: Tensor<'B * Seq, 'H * 'D>)
        (k: Tensor<'B * Context, 'G * 'D>)
        (v: Tensor<'B * Context, 'G * 'V>)
        : Tensor<'B * Seq, 'H * 'V> =
        let one (names: string list) = List.exactlyOne names
        let heads, keyHeads = one axisNames<'H>, one axisNames<'G>

        match Node.size heads q.Node, Node.size keyHeads k.Node with
        | m, n when m % n <> 0L ->
            raise (
                ModelError(
                    $"{m} {heads} can't share {n} {keyHeads} evenly",
                    heads,
                    "make the one a multiple of the other"
                )
            )
        | _ -> ()

        let form = {
            Sequence = "Seq"
            Context = "Context"
            Heads = heads
            KeyHeads = keyHeads
            Feature = one axisNames<'D>
            ValueFeature = one axisNames<'V>
            Scale = scale
            Mask = mask.Mask
            Score = mask.Score
        }

        let batch = q.Node.Dims |> List.filter (fun d -> d.Name = "Batch")
        let past = Node.input "past" batch Integer
        Tensor(Node.item 0 (Node.composite (Attend form) ([ q.Node; k.Node; v.Node; past ] @ mask.Operands)))

    /// attendScaled with 1/√(head size) (Vaswani et al. 2017).
    let attend
        mask
        (q: Tensor<'B * Seq, 'H * 'D>)
        (k: Tensor<'B * Context, 'G * 'D>)
        (v: Tensor<'B * Context, 'G * 'V>)
        : Tensor<'B * Seq, 'H * 'V> =
        attendScaled (1.0 / sqrt (float (Node.size (List.exactlyOne axisNames<'D>) q.Node))) mask q k v
