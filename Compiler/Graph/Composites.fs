namespace Legato.Compiler

open Legato.Dsl

/// What a composite means, in plain nodes: its definition, its default gradient, and what its kernels are held to.
[<RequireQualifiedAccess>]
module Composites =
    /// a · b summed down to the axes of `target`, in its order.
    let private contractTo (target: Node) (a: Node) (b: Node) =
        let surplus axes = axes |> List.filter (fun axis -> not (Node.hasAxis axis target))
        let shared = a.Axes |> List.filter (fun axis -> Node.hasAxis axis b)
        let product = Node.contract (surplus shared) a b
        product |> Node.reduce Sum (surplus product.Axes) |> Node.broadcast target.Dims

    let private turn (cos: Node) (sin: Node) first second =
        let combine op a b = Node.map (Bin(op, Arg 0 * Arg 1, Arg 2 * Arg 3)) [ a; cos; b; sin ]
        combine Sub first second, combine Add second first

    // The first features of a head lie beside those that stay as they are.
    let private replaceStart feature rotary (x: Node) (turned: Node) =
        let size = Node.size feature x

        if rotary = size then
            turned
        else
            let rest = Node.slice feature rotary (size - rotary) x |> Node.pad feature rotary size
            Node.add (Node.pad feature 0L size turned) rest

    let private ropeHalves (form: RopeForm) (x: Node) cos sin =
        let feature, half = form.Feature, form.Rotary / 2L
        let part start = Node.slice feature start half x |> Node.rename [ feature, "Pair" ]
        let first, second = turn cos sin (part 0L) (part half)
        let back before y = y |> Node.rename [ "Pair", feature ] |> Node.pad feature before form.Rotary
        Node.add (back 0L first) (back half second)

    let private ropeInterleaved (form: RopeForm) (x: Node) cos sin =
        let feature, half = form.Feature, form.Rotary / 2L
        let lane = "Pair.Lane"
        let pair = { Name = "Pair"; Size = Fixed half }

        let pairs =
            Node.slice feature 0L form.Rotary x |> Node.split feature pair { Name = lane; Size = Fixed 2L }

        let part start = Node.slice lane start 1L pairs |> Node.reduce Sum [ lane ]
        let first, second = turn cos sin (part 0L) (part 1L)

        let back before (y: Node) =
            y |> Node.broadcast (y.Dims @ [ { Name = lane; Size = Fixed 1L } ]) |> Node.pad lane before 2L

        Node.add (back 0L first) (back 1L second) |> Node.merge "Pair" lane feature

    /// Rotary positions (Su et al. 2021, section 3.2.2), with the angles' cosines and sines given.
    let private rope (form: RopeForm) (x: Node) cos sin =
        let sin = if form.Inverse then Node.map1 (fun s -> -s) sin else sin

        let turned =
            if form.Interleaved then
                ropeInterleaved form x cos sin
            else
                ropeHalves form x cos sin

        turned |> replaceStart form.Feature form.Rotary x |> Node.broadcast x.Dims

    // A query's heads as (key heads, those that share one); k tells how many there are.
    let private grouped (form: AttendForm) (k: Node) (x: Node) =
        if form.Heads = form.KeyHeads then
            x
        else
            let share = Node.size form.Heads x / Node.size form.KeyHeads k
            let group = { Name = form.Heads + ".Group"; Size = Fixed share }
            Node.split form.Heads (Node.dim form.KeyHeads k) group x

    let private ungrouped (form: AttendForm) (x: Node) =
        if form.Heads = form.KeyHeads then
            x
        else
            Node.merge form.KeyHeads (form.Heads + ".Group") form.Heads x

    /// The scores of all pairs of query and key, and scalars over their operands.
    type private Scores = {
        Operands: Node list
        /// Whether a query sees a key; None: every query sees every key.
        Visible: Scalar option
        /// The score that the softmax takes.
        Score: Scalar
        /// Its derivative with respect to the plain product of query and key.
        Slope: Scalar
    } with

        /// A map over the scores' operands, then `more`: `scalar` gets the numbers of those as its arguments.
        member this.Map(more: Node list, scalar: Scalar list -> Scalar) =
            let first = this.Operands.Length
            Node.map (scalar (more |> List.mapi (fun i _ -> Arg(first + i)))) (this.Operands @ more)

    let private scores (form: AttendForm) (q: Node) (k: Node) (past: Node option) (extras: Node list) =
        let product = Node.contract [ form.Feature ] (grouped form k q) k |> ungrouped form
        let place = Node.iota (Node.dim form.Sequence q)
        let query = past |> Option.fold (fun query past -> Node.add past query) place
        // The last position that has been written to the context.
        let last = Node.reduce Maximum [ form.Sequence ] query
        let key = Node.iota (Node.dim form.Context k)
        let head = Node.iota (Node.dim form.Heads q)

        let row =
            q.Dims
            |> List.tryFind (fun d -> not (List.contains d.Name [ form.Sequence; form.Heads; form.Feature ]))
            |> function
                | Some batch -> Node.iota batch
                | None -> Node.map (Int 0L) []

        let scaled = Num form.Scale * Arg 0

        let resolve =
            Scalar.substitute (fun i -> Arg(6 + i)) (fun name ->
                match name with
                | "q" -> Arg 1
                | "k" -> Arg 2
                | "h" -> Arg 4
                | "b" -> Arg 5
                | "score" -> scaled
                | other ->
                    raise (ModelError($"a mask has no variable {other}", string form.Mask, "use b, h, q, k or score")))

        let written = past |> Option.map (fun _ -> Bin(LessOrEqual, Arg 2, Arg 3))
        let admitted = form.Mask |> Option.map resolve
        let score = form.Score |> Option.map resolve |> Option.defaultValue scaled

        {
            Operands = [ product; query; key; last; head; row ] @ extras
            Visible =
                Option.map2 (fun a b -> Bin(And, a, b)) written admitted
                |> Option.orElse written
                |> Option.orElse admitted
            Score = score
            Slope = Scalar.derivative ((=) (Arg 0)) score
        }

    let private where visible x otherwise =
        match visible with
        | Some condition -> If(condition, x, Num otherwise)
        | None -> x

    let private orZero visible x = where visible x 0.0

    /// Scaled dot product attention (Vaswani et al. 2017, section 3.2.1). A query that sees no key gives zeros, and its
    /// log-sum-exp is −∞. Sinks are keys like any other, of no value (Xiao et al. 2024; gpt-oss).
    let private attend (form: AttendForm) (q: Node) k (v: Node) (sinks: Node option) past extras =
        let s = scores form q k past extras
        let lowest = System.Double.NegativeInfinity
        let most = s.Map([], fun _ -> where s.Visible s.Score lowest) |> Node.reduce Maximum [ form.Context ]
        let peak = (most, sinks) ||> Option.fold (Node.map2 (fun most sink -> Bin(Max, most, sink)))
        let weights = s.Map([ peak ], fun arg -> orZero s.Visible (Un(Exp, s.Score - Un(Detach, arg[0]))))
        let seen = Node.reduce Sum [ form.Context ] weights

        let withSink seen sink = Node.map (Arg 0 + Un(Exp, Arg 1 - Un(Detach, Arg 2))) [ seen; sink; peak ]

        let total = (seen, sinks) ||> Option.fold withSink
        let empty = Bin(Equal, Arg 1, Num 0.0)
        let shares = Node.map (If(empty, Num 0.0, Arg 0 / Arg 1)) [ weights; total ]
        let rows = q.Dims |> List.filter (fun d -> d.Name <> form.Feature)
        let output = Node.contract [ form.Context ] (grouped form k shares) v |> ungrouped form
        let sum = Node.map (If(empty, Num lowest, Un(Detach, Arg 0) + Un(Log, Arg 1))) [ peak; total ]
        let sumRows = rows |> List.filter (fun d -> d.Name <> form.Heads && d.Name <> form.Sequence)

        [
            Node.broadcast (rows @ [ Node.dim form.ValueFeature v ]) output
            Node.broadcast (sumRows @ [ Node.dim form.Heads q; Node.dim form.Sequence q ]) sum
        ]

    /// The gradient of attention from its log-sum-exp alone, scores computed anew (Dao et al. 2022, appendix B.2).
    /// Sequences begin at position 0: what is trained has no cache.
    let private attendGradient (form: AttendForm) (q: Node) (k: Node) (v: Node) output logSumExp gradient extras =
        let s = scores form q k None extras
        let shares = s.Map([ logSumExp ], fun arg -> orZero s.Visible (Un(Exp, s.Score - arg[0])))
        let value = Node.contract [ form.ValueFeature ]
        let toShares = value (grouped form k gradient) v |> ungrouped form
        let mean = Node.reduce Sum [ form.ValueFeature ] (Node.mul gradient output)

        let toProduct =
            s.Map([ shares; toShares; mean ], fun arg -> orZero s.Visible (arg[0] * (arg[1] - arg[2]) * s.Slope))
            |> grouped form k

        let toGroups = contractTo (grouped form k q) toProduct k

        [
            ungrouped form toGroups |> Node.broadcast q.Dims
            contractTo k toProduct (grouped form k q)
            contractTo v (grouped form k shares) (grouped form k gradient)
        ]

    let private groupedGradient (table: Dim list) gradient x index =
        let zeros = Node.broadcast table (Node.number 0.0)
        Node.make (Op.ScatterAdd table.Head.Name) [ zeros; index; Node.contract [] gradient x ]

    /// The outputs of a composite on these inputs as plain nodes, with the axes that the composite itself has.
    let decompose (composite: Composite) (inputs: Node list) : Node list =
        match composite, inputs with
        | Rope form, [ x; cos; sin ] -> [ rope form x cos sin ]
        | Attend form, q :: k :: v :: rest -> form.Split rest |||> attend form q k v
        | AttendGradient form, q :: k :: v :: output :: logSumExp :: gradient :: extras ->
            attendGradient form q k v output logSumExp gradient extras
        | GroupedProduct form, [ x; table; index ] ->
            let matrices = Node.gather form.Group table index
            let kept = matrices.Dims |> List.filter (fun d -> not (List.contains d.Name form.Summed))
            [ Node.contract form.Summed x matrices |> Node.broadcast kept ]
        | GroupedGradient table, [ gradient; x; index ] -> [ groupedGradient table gradient x index ]
        | _ ->
            raise (
                ModelError(
                    $"{inputs.Length} inputs don't fit",
                    string composite,
                    "give a composite the inputs that GRAPH.md lists"
                )
            )
