/// Attention whose score is a logarithm: the softmax undoes it, and each key weighs what the logarithm was of.
///
/// Takes a graph without caches; gives one in which such an attention, causal or of all keys, is sums over chunks of the keys
/// and a loop that carries the sums from chunk to chunk, so that its cost grows with the length and not with its square
/// (Katharopoulos et al. 2020, equations 16 to 19; the chunks are those of Hua et al. 2022, section 3.3).
module Legato.Compiler.Linear

open Legato.Dsl

/// When chunks take the place of scores.
type Cut = {
    /// Keys of a chunk, within which each query meets each key: about as many as a head has features.
    Chunk: int64
    /// How many times fewer multiplications than attention's make chunks worth their while: they pass over memory more often than
    /// attention's kernel.
    Advantage: float
}

/// With 512 features of heads on two cores of a Zen 4 attention took 10, 40 and 161 ms forward for 1,024, 2,048 and 4,096 tokens
/// with heads of 64, chunks 13, 24 and 30; 25, 54 and 105 with heads of 128, chunks 12, 15 and 22; forward and backward
/// chunks were as fast at 512 tokens.
let private wide = { Chunk = 128L; Advantage = 2.0 }

/// Of 16 bits, attention's scores never leave the tensor cores. With 2,048 features of heads on an H200 it took 0.60, 2.0 and 7.6 ms
/// forward for 4,096, 8,192 and 16,384 tokens with heads of 64, chunks of 256 took 0.61, 1.2 and 2.4; 0.38, 1.2 and 4.2 with heads
/// of 128, chunks 0.50, 1.0 and 2.0; forward and backward 1.5, 5.3 and 20 to 1.9, 3.9 and 7.8, and 1.5, 4.9 and 17 to 1.8, 3.5 and 7.1.
let private narrow = { Chunk = 256L; Advantage = 7.0 }

/// By the bytes of an activation.
let cutOf bytes = if bytes < 4 then narrow else wide

let private isCausal (form: AttendForm) = form.Mask = Some(Bin(LessOrEqual, Var "k", Var "q"))

let private isLinear (form: AttendForm) =
    form.Score = Some(Un(Log, Var "score")) && not form.Sinks && (isCausal form || form.Mask.IsNone)

let private row, key, part = "Linear.Query", "Linear.Key", "Linear.Chunk"
// A key and its value may have features of one name.
let private value = "Linear.Value"

/// A sequence as chunks of places; zeros, which weigh nothing, fill up the last one.
let private cut (size: int64) axis place (x: Node) =
    let chunks = (Node.size axis x + size - 1L) / size

    let whole =
        if chunks * size = Node.size axis x then
            x
        else
            Node.pad axis 0L (chunks * size) x

    Node.split axis { Name = part; Size = Fixed chunks } { Name = place; Size = Fixed size } whole

let private uncut axis length (x: Node) = Node.merge part row axis x |> Node.slice axis 0L length

/// What all chunks before each one sum up to.
let private before (sums: Node) =
    let chunks = Node.dim part sums
    let slice = Node.placeholder "slice" (sums.Dims |> List.except [ chunks ]) Float
    let carry = Node.placeholder "sum" slice.Dims Float
    let zeros = Node.broadcast slice.Dims (Node.number 0.0)

    Node.scan chunks false [ carry, zeros ] [ slice, sums ] [ Node.add carry slice ] [ carry ]
    |> Node.item 1

let private causal (form: AttendForm) q k v =
    let seen =
        Node.map2 (fun key row -> Bin(LessOrEqual, key, row)) (Node.iota (Node.dim key k)) (Node.iota (Node.dim row q))

    let weights = Node.map (If(Arg 0, Arg 1, Num 0.0)) [ seen; Node.contract [ form.Feature ] q k ]
    let earlier, earlierTotal = before (Node.contract [ key ] k v), before (Node.reduce Sum [ key ] k)
    let sum = Node.add (Node.contract [ key ] weights v) (Node.contract [ form.Feature ] q earlier)
    let total = Node.add (Node.reduce Sum [ key ] weights) (Node.contract [ form.Feature ] q earlierTotal)
    sum, total

let private everyKey (form: AttendForm) q k v =
    let all = Node.contract [ part; key ] k v
    Node.contract [ form.Feature ] q all, Node.contract [ form.Feature ] q (Node.reduce Sum [ part; key ] k)

let private attend size (form: AttendForm) (q: Node) (k: Node) (v: Node) =
    let share = Node.size form.Heads q / Node.size form.KeyHeads k
    let group = { Name = form.Heads + ".Group"; Size = Fixed share }

    let grouped =
        if form.Heads = form.KeyHeads then
            q
        else
            Node.split form.Heads (Node.dim form.KeyHeads k) group q

    let queries = cut size form.Sequence row grouped
    let keys = cut size form.Context key k
    let values = v |> Node.rename [ form.ValueFeature, value ] |> cut size form.Context key
    let sum, total = (if isCausal form then causal else everyKey) form queries keys values
    // A query whose features are all zero sees nothing.
    let output = Node.map (If(Bin(Equal, Arg 1, Num 0.0), Num 0.0, Arg 0 / Arg 1)) [ sum; total ]

    let whole =
        output
        |> Node.rename [ value, form.ValueFeature ]
        |> uncut form.Sequence (Node.size form.Sequence q)

    if form.Heads = form.KeyHeads then
        whole
    else
        Node.merge form.KeyHeads group.Name form.Heads whole

/// Whether a key costs a query so many times what chunks cost it. A causal query meets half of the keys, or all
/// of its chunk, which are masked behind the product; and each key and query meets the sums.
let private pays (cut: Cut) (form: AttendForm) (k: Node) (v: Node) =
    match (Node.dim form.Context k).Size with
    | Fixed length ->
        let features, values = float (Node.size form.Feature k), float (Node.size form.ValueFeature v)
        let pair, sums = features + values, 2.0 * features * values

        if isCausal form then
            float length / 2.0 * pair >= cut.Advantage * (float cut.Chunk * pair + sums)
        else
            float length * pair >= cut.Advantage * sums
    | Dynamic _ -> false

/// Sums in the place of scores, by chunks, where attention multiplies so many times as much.
let chunked (cut: Cut) (roots: Node list) : Node list =
    roots
    |> Simplify.rewriteDeep (fun node inputs ->
        match node.Op, inputs with
        | Op.Item 0, [ attention ] ->
            match attention.Op, attention.Inputs with
            | Op.Composite(Attend form), [ q; k; v ] when isLinear form && pays cut form k v ->
                Some(attend cut.Chunk form q k v |> Node.broadcast node.Dims)
            | _ -> None
        | _ -> None)
