namespace Legato.Dsl

/// Which keys a query sees, and what happens to a score before the softmax: scalar expressions over the batch row b,
/// the head h, the positions q and k, and the score. Masks compose with &&& and |||, score modifications with +
/// (left to right).
[<Sealed>]
type Mask internal (mask: Scalar option, score: Scalar option) =
    member internal _.Mask = mask
    member internal _.Score = score

    static member private Join(op, x: Mask, y: Mask) =
        let mask =
            match x.Mask, y.Mask with
            | Some a, Some b -> Some(Bin(op, a, b))
            | None, Some m when op = And -> Some m
            | Some m, None when op = And -> Some m
            | _ -> None

        Mask(mask, Mask.Chain(x, y))

    static member private Chain(x: Mask, y: Mask) =
        match x.Score, y.Score with
        | Some a, Some b -> Some(Scalar.substitute Arg (fun v -> if v = "score" then a else Var v) b)
        | Some s, None
        | None, Some s -> Some s
        | None, None -> None

    /// Keys that both admit.
    static member (&&&)(x: Mask, y: Mask) = Mask.Join(And, x, y)

    /// Keys that either admits.
    static member (|||)(x: Mask, y: Mask) = Mask.Join(Or, x, y)

    /// The first's mask and score, then the second's score modification.
    static member (+)(x: Mask, y: Mask) = Mask.Join(And, x, y)

/// How rotary positions are stretched beyond the length that a model was trained for.
type RopeScaling =
    | Unscaled
    /// Positions divided by the factor (Chen et al. 2023).
    | Linear of factor: float
    /// Llama 3.1: long wavelengths divided by the factor, short ones kept, a smooth ramp between.
    | Llama3 of factor: float * lowFrequency: float * highFrequency: float * originalContext: int

/// Rotary position embedding (Su et al. 2021).
type Rope = { Theta: float; Scaling: RopeScaling }

[<AutoOpen>]
module Attention =
    let private q, private k, private h = Var "q", Var "k", Var "h"

    /// Every key.
    let everything = Mask(None, None)

    /// Keys at the query's position and before.
    let causal = Mask(Some(Bin(LessOrEqual, k, q)), None)

    /// The query's position and the `size` − 1 before it (and any after: combine with causal).
    let window (size: int) = Mask(Some(Bin(Less, q - k, Int(int64 size))), None)

    /// The first `length` keys.
    let prefix (length: int) = Mask(Some(Bin(Less, k, Int(int64 length))), None)

    /// Scores become cap · tanh(score / cap) (Gemma 2).
    let scoreCap (cap: float) = Mask(None, Some(Num cap * Un(Tanh, Var "score" * Num(1.0 / cap))))

    /// Scores fall with distance, by 2^(−8 (h+1) / heads) a position (Press et al. 2022; heads: a power of two).
    let alibi (heads: Axis<'Heads>) =
        let exponent = Num(-8.0 * log 2.0 / float heads.Size)
        let slope = Un(Exp, exponent * Un(ToFloat, h + Int 1L))
        Mask(None, Some(Var "score" + slope * Un(ToFloat, k - q)))

    /// Wavelengths' inverse, one for each pair of features.
    let private frequencies (rope: Rope) (rotary: int64) = [
        for i in 0L .. rotary / 2L - 1L do
            let f = rope.Theta ** (-2.0 * float i / float rotary)

            match rope.Scaling with
            | Unscaled -> f
            | Linear factor -> f / factor
            | Llama3(factor, low, high, original) ->
                let wavelength = 2.0 * System.Math.PI / f
                let turns = float original / wavelength

                if turns < low then
                    f / factor
                elif turns > high then
                    f
                else
                    let smooth = (turns - low) / (high - low)
                    (1.0 - smooth) * f / factor + smooth * f
    ]

    let private ropeOf
        interleaved
        (rotary: int64 option)
        (settings: Rope)
        (x: Tensor<'B * Seq, 'H * 'D>)
        : Tensor<'B * Seq, 'H * 'D> =
        let feature = List.exactlyOne axisNames<'D>
        let size = Node.size feature x.Node
        let rotary = defaultArg rotary size

        if rotary % 2L <> 0L || rotary > size then
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
        let frequency = Node.make (Op.ConstVector(frequencies settings rotary, pair)) []
        let angle = Node.map2 (fun p f -> Un(ToFloat, p) * f) position frequency
        let turn f = Node.map1 (fun a -> Un(f, a)) angle
        let form = { Feature = feature; Rotary = rotary; Interleaved = interleaved; Inverse = false }
        Tensor(Node.composite (Composite.Rope form) [ x.Node; turn Cos; turn Sin ])

    /// Turns each head's features by the position: pairs are the halves (i, i + n/2).
    let rope (settings: Rope) (x: Tensor<'B * Seq, 'H * 'D>) = ropeOf false None settings x

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
        Tensor(Node.item 0 (Node.composite (Attend form) [ q.Node; k.Node; v.Node; Node.input "past" batch Integer ]))

    /// attendScaled with 1/√(head size) (Vaswani et al. 2017).
    let attend
        mask
        (q: Tensor<'B * Seq, 'H * 'D>)
        (k: Tensor<'B * Context, 'G * 'D>)
        (v: Tensor<'B * Context, 'G * 'V>)
        : Tensor<'B * Seq, 'H * 'V> =
        attendScaled (1.0 / sqrt (float (Node.size (List.exactlyOne axisNames<'D>) q.Node))) mask q k v
