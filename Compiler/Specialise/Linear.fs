/// Attention whose score is a logarithm: the softmax undoes it, and each key weighs what the logarithm was of.
///
/// Takes a graph without caches; gives one in which such an attention, causal or of all keys, is sums over chunks of the keys
/// and a loop that carries the sums from chunk to chunk, so that its cost grows with the length and not with its square
/// (Katharopoulos et al. 2020, equations 16 to 19; the chunks are those of Hua et al. 2022, section 3.3).
module Legato.Compiler.Linear

open Legato.Dsl

/// Keys of a chunk, within which each query meets each key: about as many as a head has features.
let chunk = 128L

/// How many times fewer multiplications than attention's make chunks worth their while: they pass over memory more often than
/// attention's kernel. With 512 features of heads on two cores of a Zen 4 attention took 10, 40 and 161 ms forward for 1,024,
/// 2,048 and 4,096 tokens with heads of 64, chunks 13, 24 and 30; 25, 54 and 105 with heads of 128, chunks 12, 15 and 22; forward and backward
/// chunks were as fast at 512 tokens.
let advantage = 2.0

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
let private pays size times (form: AttendForm) (k: Node) (v: Node) =
    match (Node.dim form.Context k).Size with
    | Fixed length ->
        let features, values = float (Node.size form.Feature k), float (Node.size form.ValueFeature v)
        let pair, sums = features + values, 2.0 * features * values

        if isCausal form then
            float length / 2.0 * pair >= times * (float size * pair + sums)
        else
            float length * pair >= times * sums
    | Dynamic _ -> false

/// Sums in the place of scores, by chunks of so many keys, where attention multiplies so many times as much.
let chunked size times (roots: Node list) : Node list =
    roots
    |> Simplify.rewriteDeep (fun node inputs ->
        match node.Op, inputs with
        | Op.Item 0, [ attention ] ->
            match attention.Op, attention.Inputs with
            | Op.Composite(Attend form), [ q; k; v ] when isLinear form && pays size times form k v ->
                Some(attend size form q k v |> Node.broadcast node.Dims)
            | _ -> None
        | _ -> None)
