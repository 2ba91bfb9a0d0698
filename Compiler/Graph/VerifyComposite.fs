/// Whether a composite's operands are what GRAPH.md asks of them, and its decomposition is what it says it gives.
module internal Legato.Compiler.VerifyComposite

open Legato.Dsl
open Legato.Compiler.Demand

let private attend node (form: AttendForm) (q: Node) (k: Node) (v: Node) (extras: Node list) =
    let heads, keyHeads = Node.size form.Heads q, Node.size form.KeyHeads k
    let uneven () = $"{heads} {form.Heads} can't share {keyHeads} {form.KeyHeads}"
    demand node (heads % keyHeads = 0L) uneven "make the one a multiple of the other"
    subset node [ Node.dim form.Feature k ] q.Dims
    subset node [ Node.dim form.Context v; Node.dim form.KeyHeads v ] k.Dims

    let arg i =
        demand
            node
            (i < extras.Length)
            (fun () -> $"the attention has no extra operand {i}")
            "add the operand to its inputs"

        extras[i].Type

    let check (expression: Scalar option) variables kind =
        for e in Option.toList expression do
            let found = typed node arg variables e

            demand
                node
                (found = kind)
                (fun () -> $"the expression {e} is {found}, not {kind}")
                "mend the mask or the score"

    check form.Mask [ "b"; "h"; "q"; "k" ] Boolean
    check form.Score [ "b"; "h"; "q"; "k"; "score" ] Float

let private decomposes (node: Node) composite =
    let shapes = Composites.decompose composite node.Inputs |> List.map (fun part -> part.Outputs.Head)

    demand
        node
        (shapes = node.Outputs)
        (fun () -> $"its decomposition has the axes {shapes |> List.map (fst >> Infer.show)}")
        "mend Composites.fs"

// The group's axis leads, then the axes summed over and the others, each kind in one run.
let private grouped (node: Node) (table: Dim list) (form: GroupedForm) =
    let isSummed = namesOf table.Tail |> List.map (fun axis -> List.contains axis form.Summed)
    let changes = List.pairwise isSummed |> List.filter (fun (a, b) -> a <> b)

    demand
        node
        (table.Head.Name = form.Group && changes.Length <= 1)
        (fun () -> $"the table {Infer.show table} is no matrix for each {form.Group}")
        "put the group's axis first, then the axes of one side, then those of the other"

let operands (node: Node) c =
    match c, node.Inputs with
    | Rope form, x :: angles ->
        for angle in angles do
            let pair = { Name = "Pair"; Size = Fixed(form.Rotary / 2L) }

            demand
                node
                (List.contains pair angle.Dims)
                (fun () -> $"the angles have no axis {pair}")
                "give one angle a pair of features"

            subset node (angle.Dims |> List.except [ pair ]) x.Dims

        part node form.Feature 0L form.Rotary (Node.size form.Feature x)
    | Attend form, q :: k :: v :: rest ->
        let sinks, past, extras = form.Split rest
        sinks |> Option.iter (fun sinks -> sameAxes node "the sinks" sinks.Dims [ Node.dim form.Heads q ])

        for past in Option.toList past do
            wantsType node past Integer
            subset node past.Dims q.Dims

        attend node form q k v extras
    | AttendGradient form, q :: k :: v :: output :: logSumExp :: gradient :: extras ->
        attend node form q k v extras

        let forward =
            Infer.outputs (Op.Composite(Attend form)) (node.Inputs |> List.map (fun n -> n.Outputs.Head))

        sameAxes node "the output" output.Dims (fst forward[0])
        sameAxes node "the log-sum-exp" logSumExp.Dims (fst forward[1])
        sameAxes node "the output's gradient" gradient.Dims (fst forward[0])
    | GroupedProduct form, [ x; table; index ] ->
        wantsType node index Integer
        subset node (x.Dims |> List.filter (fun d -> not (List.contains d.Name form.Summed))) index.Dims
        grouped node table.Dims form
    | GroupedGradient table, [ gradient; _; index ] ->
        wantsType node index Integer
        let free = table.Tail |> List.filter (fun d -> Node.hasAxis d.Name gradient)
        grouped node table { Group = table.Head.Name; Summed = namesOf free }
    | _ -> ()

    decomposes node c
