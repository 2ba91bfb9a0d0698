namespace Legato.Dsl

/// Which keys a query sees, and what happens to a score before the softmax: scalar expressions over the batch row b,
/// the head h, the positions q and k, and the score. Masks compose with &&& and |||, score modifications with +
/// (left to right).
[<Sealed>]
type Mask internal (mask: Scalar option, score: Scalar option, operands: Node list) =
    member internal _.Mask = mask
    member internal _.Score = score

    /// What `Arg i` of both stands for.
    member internal _.Operands = operands

    static member private Join(op, x: Mask, y: Mask) =
        let operands = List.distinct (x.Operands @ y.Operands)
        let place i = Arg(List.findIndex ((=) y.Operands[i]) operands)
        let moved = Option.map (Scalar.mapArgs place)

        let mask =
            match x.Mask, moved y.Mask with
            | Some a, Some b -> Some(Bin(op, a, b))
            | None, Some m when op = And -> Some m
            | Some m, None when op = And -> Some m
            | _ -> None

        Mask(mask, Mask.Chain(x.Score, moved y.Score), operands)

    static member private Chain(x: Scalar option, y: Scalar option) =
        match x, y with
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

[<AutoOpen>]
module Masks =
    let private q, private k, private h = Var "q", Var "k", Var "h"
    let private number (n: int) = Int(int64 n)
    let private admits condition = Mask(Some condition, None, [])
    let private scored score = Mask(None, Some score, [])

    /// Every key.
    let everything = Mask(None, None, [])

    /// Keys at the query's position and before.
    let causal = admits (Bin(LessOrEqual, k, q))

    /// The query's position and the `size` − 1 before it (and any after: combine with causal).
    let window (size: int) = admits (Bin(Less, q - k, number size))

    /// The first `length` keys.
    let prefix (length: int) = admits (Bin(Less, k, number length))

    /// At most `reach` positions away, on either side (Beltagy et al. 2020, Longformer: half its window).
    let local (reach: int) =
        admits (Bin(And, Bin(LessOrEqual, q - k, number reach), Bin(LessOrEqual, k - q, number reach)))

    /// The first `length` positions see every key and are seen by every query (Longformer's global attention).
    let globals (length: int) = admits (Bin(Or, Bin(Less, q, number length), Bin(Less, k, number length)))

    let private remainder x (n: int) = Bin(Rem, x, number n)

    /// Every `stride`-th key, counted from the query (Child et al. 2019, Sparse Transformers, section 4.2: strided).
    let strided (stride: int) = admits (Bin(Equal, remainder (q - k) stride, Int 0L))

    /// Keys of the query's own block of `stride`, and the last `summary` of every block (Child et al. 2019, section 4.2:
    /// fixed).
    let blocked (stride: int) (summary: int) =
        let block x = Bin(Div, x, number stride)
        let isSummary = Bin(LessOrEqual, number (stride - summary), remainder k stride)
        admits (Bin(Or, Bin(Equal, block q, block k), isSummary))

    /// Keys of the query's own document: `ids` tells each position's. For calls without a cache.
    let documents (ids: Tensor<Batch * Seq, unit>) =
        let keys = Node.rename [ "Seq", "Context" ] ids.Node
        Mask(Some(Bin(Equal, Arg 0, Arg 1)), None, [ ids.Node; keys ])

    /// The first `lengths` keys of each row: those behind them are padding.
    let within (lengths: Tensor<Batch, unit>) = Mask(Some(Bin(Less, k, Arg 0)), None, [ lengths.Node ])

    /// Keys whose token is another than the one that fills up the shorter texts of a batch: `ids` tells each key's.
    let besides (padding: int) (ids: Tensor<Batch * 'Keys, unit>) =
        Mask(Some(Un(Not, Bin(Equal, Arg 0, number padding))), None, [ ids.Node ])

    /// Scores become cap · tanh(score / cap) (Gemma 2).
    let scoreCap (cap: float) = scored (Num cap * Un(Tanh, Var "score" * Num(1.0 / cap)))

    /// The softmax of scores becomes their share: scores must be positive.
    let internal shares = scored (Un(Log, Var "score"))

    /// Scores fall with distance, in head h by weight · 2^(−steepest (h+1) / heads) a position. Beyond the largest power of
    /// two, heads take the slopes halfway between the others' (Press et al. 2022, with its authors' code for other numbers).
    let alibiOf (steepest: float) (weight: float) (heads: Axis<'Heads>) =
        let power = 1 <<< System.Numerics.BitOperations.Log2(uint heads.Size)

        let slope (step: float) (nth: Scalar) =
            Num weight * Un(Exp, Num(-steepest * log 2.0 * step / float power) * Un(ToFloat, nth))

        let first = slope 1.0 (h + Int 1L)
        let between = slope 0.5 (Int 2L * (h - number power) + Int 1L)

        let slopes =
            if power = heads.Size then
                first
            else
                If(Bin(Less, h, number power), first, between)

        scored (Var "score" + slopes * Un(ToFloat, k - q))

    /// ALiBi with the paper's steepest slope of 2⁻⁸.
    let alibi (heads: Axis<'Heads>) = alibiOf 8.0 1.0 heads

    // How many buckets beyond the exact ones a distance has passed: those grow in size like a geometric series.
    let private thresholds (buckets: int) (farthest: int) =
        let exact = buckets / 2

        let beyond distance =
            let share = log (float32 distance / float32 exact) / log (float32 farthest / float32 exact)
            min (buckets - exact - 1) (int (share * float32 (buckets - exact)))

        [
            for j in 1 .. buckets - exact - 1 do
                [ exact..farthest ] |> List.find (fun distance -> beyond distance >= j)
        ]

    let private bucketOf buckets farthest distance =
        let passed =
            thresholds buckets farthest
            |> List.map (fun t -> If(Bin(LessOrEqual, number t, distance), Int 1L, Int 0L))

        List.fold (+) (Bin(Min, distance, number (buckets / 2))) passed

    /// Each head adds what a table has for the bucket of key's and query's distance: near ones have a bucket each, those up to
    /// `farthest` share ever wider ones, half of all are for keys behind the query unless none can be (Raffel et al. 2020,
    /// section 2.1). `queries` and `keys` are positions.
    let relativeBias
        (table: Embedding<'Bucket, 'Heads>)
        (isCausal: bool)
        (farthest: int)
        (queries: Tensor<'Q, unit>)
        (keys: Tensor<'K, unit>)
        =
        let index = List.exactlyOne axisNames<'Bucket>
        let all = int (Node.size index table.Node)
        let ahead = Arg 1 - Arg 0
        let behind = Bin(Max, -ahead, Int 0L)

        let bucket =
            if isCausal then
                bucketOf all farthest behind
            else
                let half = bucketOf (all / 2) farthest (Bin(Max, behind, ahead))
                half + If(Bin(Less, Int 0L, ahead), number (all / 2), Int 0L)

        let buckets = Node.map bucket [ queries.Node; keys.Node ]
        Mask(None, Some(Var "score" + Arg 0), [ Node.gather index table.Node buckets ])
