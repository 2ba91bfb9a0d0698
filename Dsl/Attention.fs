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

    let private form scale (mask: Mask) sequence context heads keyHeads feature value : AttendForm = {
        Sequence = sequence
        Context = context
        Heads = heads
        KeyHeads = keyHeads
        Feature = feature
        ValueFeature = value
        Scale = scale
        Mask = mask.Mask
        Score = mask.Score
        Sinks = false
    }

    let private one (names: string list) = List.exactlyOne names

    let private evenly heads keyHeads (q: Node) (k: Node) =
        let m, n = Node.size heads q, Node.size keyHeads k

        if m % n <> 0L then
            raise (
                ModelError(
                    $"{m} {heads} can't share {n} {keyHeads} evenly",
                    heads,
                    "make the one a multiple of the other"
                )
            )

    let private attention
        (sinks: Node list)
        past
        scale
        (mask: Mask)
        (q: Tensor<'B * 'S, 'H * 'D>)
        (k: Tensor<'B * 'C, 'G * 'D>)
        (v: Tensor<'B * 'C, 'G * 'V>)
        : Node =
        let heads, keyHeads = one axisNames<'H>, one axisNames<'G>
        evenly heads keyHeads q.Node k.Node

        let form =
            form
                scale
                mask
                (one axisNames<'S>)
                (one axisNames<'C>)
                heads
                keyHeads
                (one axisNames<'D>)
                (one axisNames<'V>)

        let inputs = [ q.Node; k.Node; v.Node ] @ sinks @ past @ mask.Operands
        Node.item 0 (Node.composite (Attend { form with Sinks = not sinks.IsEmpty }) inputs)

    let private pastOf (q: Tensor<'Pos, 'Feat>) =
        let batch = q.Node.Dims |> List.filter (fun d -> d.Name = "Batch")
        [ Node.input "past" batch Integer ]

    /// softmax(scale · q kᵀ, masked) v over the context, for each head. Several query heads may share a key head.
    let attendScaled
        (scale: float)
        (mask: Mask)
        (q: Tensor<'B * Seq, 'H * 'D>)
        (k: Tensor<'B * Context, 'G * 'D>)
        (v: Tensor<'B * Context, 'G * 'V>)
        : Tensor<'B * Seq, 'H * 'V> =
        Tensor(attention [] (pastOf q) scale mask q k v)

    /// attendScaled with 1/√(head size) (Vaswani et al. 2017).
    let attend
        mask
        (q: Tensor<'B * Seq, 'H * 'D>)
        (k: Tensor<'B * Context, 'G * 'D>)
        (v: Tensor<'B * Context, 'G * 'V>)
        : Tensor<'B * Seq, 'H * 'V> =
        attendScaled (1.0 / sqrt (float (Node.size (one axisNames<'D>) q.Node))) mask q k v

    /// attendScaled with one more key for each head, whose score is its sink and whose value is nothing: what a query leaves
    /// to it is lost (gpt-oss).
    let attendWithSinks
        scale
        mask
        (sinks: Vector<'H>)
        (q: Tensor<'B * Seq, 'H * 'D>)
        (k: Tensor<'B * Context, 'G * 'D>)
        (v: Tensor<'B * Context, 'G * 'V>)
        : Tensor<'B * Seq, 'H * 'V> =
        Tensor(attention [ sinks.Node ] (pastOf q) scale mask q k v)

    /// Linear attention of queries and keys that a feature map, such as eluPlusOne, has made positive: a key weighs φ(q)·φ(k)
    /// over the sum of all that the query sees (Katharopoulos et al. 2020, equation 4). A softmax of the products'
    /// logarithms, so that masks, caches and shared key heads are attention's. Over long texts without a cache, causal or of all
    /// keys, it is computed as sums (the compiler's Linear.fs); else its cost is attention's too. `runningSum` keeps sums instead of a
    /// cache.
    let attendLinear
        (mask: Mask)
        (q: Tensor<'B * Seq, 'H * 'D>)
        (k: Tensor<'B * Context, 'G * 'D>)
        (v: Tensor<'B * Context, 'G * 'V>)
        : Tensor<'B * Seq, 'H * 'V> =
        attendScaled 1.0 (shares + mask) q k v

    /// Attention over positions of any two texts, all of which are there: within an encoder, or from a decoder to what an
    /// encoder has read.
    let attendAcross
        (scale: float)
        (mask: Mask)
        (q: Tensor<'B * 'S, 'H * 'D>)
        (k: Tensor<'B * 'C, 'G * 'D>)
        (v: Tensor<'B * 'C, 'G * 'V>)
        : Tensor<'B * 'S, 'H * 'V> =
        Tensor(attention [] [] scale mask q k v)

    /// The same values at positions of another name: keys of the text that asks.
    let asPositions<'S, 'C, 'B, 'F> (x: Tensor<'B * 'S, 'F>) : Tensor<'B * 'C, 'F> =
        Tensor(Node.rename [ one axisNames<'S>, one axisNames<'C> ] x.Node)
