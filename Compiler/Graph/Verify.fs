namespace Legato.Compiler

open System.Collections.Generic
open Legato.Dsl
open Legato.Compiler.Demand

/// Whether a graph is what GRAPH.md says: passes are checked with it after each other.
[<RequireQualifiedAccess>]
module Verify =
    let private arity (op: Op) : (int -> bool) * string =
        let exactly n = (=) n, string n

        match op with
        | Op.Input _
        | Op.Param _
        | Op.State _
        | Op.Const _
        | Op.ConstVector _
        | Op.Iota _ -> exactly 0
        | Op.Map scalar -> exactly (Scalar.args scalar).Length
        | Op.Reduce _
        | Op.Rename _
        | Op.Split _
        | Op.Merge _
        | Op.Slice _
        | Op.Pad _
        | Op.TopK _
        | Op.Broadcast _
        | Op.Item _ -> exactly 1
        | Op.Contract _
        | Op.Gather _ -> exactly 2
        | Op.ScatterAdd _
        | Op.Append _ -> exactly 3
        | Op.Scan s -> exactly (s.Carries.Length + s.Slices.Length + s.Captures.Length)
        | Op.Composite(Rope _) -> exactly 3
        | Op.Composite(Attend _) -> (fun n -> n >= 3), "3 or more"
        | Op.Composite(AttendGradient _) -> (fun n -> n >= 6), "6 or more"
        | Op.Composite(GroupedProduct _)
        | Op.Composite(GroupedGradient _) -> exactly 3

    let rec private check (placeholders: HashSet<int>) (roots: Node list) =
        for node in Node.topological roots do
            operands node

            match node.Op with
            | Op.Scan scan ->
                outputs node
                loop placeholders node scan
            | _ ->
                special node
                outputs node

    and private operands (node: Node) =
        let accepts, expected = arity node.Op

        demand
            node
            (accepts node.Inputs.Length)
            (fun () -> $"{node.Inputs.Length} inputs, not {expected}")
            "give the node the inputs that GRAPH.md lists"

        match node.Op, node.Inputs with
        | Op.Item i, [ x ] ->
            demand
                node
                (i >= 0 && i < x.Outputs.Length)
                (fun () -> $"{x} has no output {i}")
                "read an output that it has"
        | _, inputs ->
            for x in inputs do
                demand
                    node
                    (x.Outputs.Length = 1)
                    (fun () -> $"{x} has {x.Outputs.Length} outputs")
                    "read one of them through Item"

    // Axes and types that a node states must be those that follow from its operation.
    and private outputs (node: Node) =
        let inferred =
            match node.Op, node.Inputs with
            | Op.Item i, [ x ] -> [ x.Outputs[i] ]
            | op, inputs ->
                try
                    Infer.outputs op (inputs |> List.map (fun n -> n.Outputs.Head))
                with ModelError(what, _, remedy) ->
                    fail node what remedy

        let show outputs = outputs |> List.map (fun (dims, kind: ElementType) -> $"{kind} {Infer.show dims}")

        demand
            node
            (inferred = node.Outputs)
            (fun () -> $"it states {show node.Outputs}, but gives {show inferred}")
            "build nodes with Node.make"

        for dims, _ in node.Outputs do
            let twice = namesOf dims |> List.countBy id |> List.tryFind (fun (_, n) -> n > 1)
            demand node twice.IsNone (fun () -> $"the axis {fst twice.Value} occurs twice") "rename one of the two"

            for d in dims do
                match d.Size with
                | Fixed n -> demand node (n > 0L) (fun () -> $"the axis {d} is empty") "give every axis a positive size"
                | Dynamic _ -> ()

    and private special (node: Node) =
        match node.Op, node.Inputs with
        | Op.ConstVector(values, dim), _ ->
            demand
                node
                (int64 values.Length = fixedSize node dim)
                (fun () -> $"{values.Length} values for {dim}")
                "give one value an element"
        | Op.Map scalar, inputs ->
            let used = Scalar.args scalar

            demand
                node
                (used = [ 0 .. inputs.Length - 1 ])
                (fun () -> $"the expression uses the operands {used}")
                "use each input"

            typed node (fun i -> inputs[i].Type) [] scalar |> ignore
        | Op.Reduce(_, axes), [ x ] ->
            demand
                node
                (axes = List.distinct axes && not axes.IsEmpty)
                (fun () -> $"it reduces over {axes}")
                "name each axis once"

            demand node (x.Type <> Boolean) (fun () -> "a Boolean can't be reduced") "convert it with ToFloat"
        | Op.Contract axes, inputs ->
            demand node (axes = List.distinct axes) (fun () -> $"it contracts {axes}") "name each axis once"

            for x in inputs do
                wantsType node x Float
        | Op.Rename names, [ x ] ->
            for axis, _ in names do
                demand
                    node
                    (Node.hasAxis axis x)
                    (fun () -> $"there is no axis {axis} in {Infer.show x.Dims}")
                    "rename an axis that is there"
        | Op.Slice(axis, start, length), [ x ] ->
            match (Node.dim axis x).Size with
            | Fixed total -> part node axis start length total
            | Dynamic _ ->
                demand
                    node
                    (start >= 0L && length > 0L)
                    (fun () -> $"{length} elements from {start}")
                    "stay within the axis"
        | Op.Pad(axis, before, total), [ x ] -> part node axis before (Node.size axis x) total
        | Op.Gather axis, [ table; index ] ->
            wantsType node index Integer
            subset node (index.Dims |> List.filter (fun d -> d.Name <> axis && Node.hasAxis d.Name table)) table.Dims
        | Op.ScatterAdd axis, [ target; index; updates ] ->
            wantsType node index Integer

            demand
                node
                (updates.Type = target.Type)
                (fun () -> $"{updates.Type} updates of a {target.Type} target")
                "convert the updates"

            let rows =
                Infer.outputs (Op.Gather axis) [ target.Outputs.Head; index.Outputs.Head ] |> List.head |> fst

            subset node (index.Dims |> List.filter (fun d -> d.Name <> axis && Node.hasAxis d.Name target)) target.Dims
            sameAxes node "the update" updates.Dims rows
        | Op.TopK(axis, rank), [ x ] ->
            wantsType node x Float
            part node axis 0L (fixedSize node rank) (Node.size axis x)
        | Op.Append(context, sequence), [ state; value; past ] ->
            wantsType node past Integer
            subset node past.Dims (state.Dims |> List.filter (fun d -> d.Name <> context))
            demand node (value.Type = state.Type) (fun () -> $"a {value.Type} appended to a {state.Type}") "convert it"
            let rest axis (x: Node) = x.Dims |> List.except [ Node.dim axis x ]
            sameAxes node "what is appended, but for the sequence," (rest sequence value) (rest context state)
        | Op.Broadcast target, [ x ] -> subset node x.Dims target
        | Op.Composite c, _ -> VerifyComposite.operands node c
        | _ -> ()

    and private loop placeholders (node: Node) (scan: Scan) =
        let own = scan.Carries @ scan.Slices @ scan.Captures

        for p in own do
            demand
                node
                (Node.isPlaceholder p)
                (fun () -> $"{Print.node p} is no placeholder")
                "make placeholders with Node.placeholder"

            placeholders.Add p.Id |> ignore

        let twice = own |> List.countBy id |> List.tryFind (fun (_, n) -> n > 1)

        demand
            node
            twice.IsNone
            (fun () -> $"the placeholder {fst twice.Value} stands for two inputs")
            "give each input a placeholder of its own"

        let starts, rest = List.splitAt scan.Carries.Length node.Inputs
        let stacks, captures = List.splitAt scan.Slices.Length rest

        demand
            node
            (scan.CarryResults.Length = scan.Carries.Length)
            (fun () -> $"{scan.CarryResults.Length} results of {scan.Carries.Length} carries")
            "give one result a carry"

        demand
            node
            (scan.LastResults.IsEmpty || not scan.Reversed)
            (fun () -> "a reversed loop computes something in its last iteration alone")
            "stack it, and take a slice"

        let same (what: string) (p: Node) (dims, kind) =
            let text () = $"the {what} is {kind} {Infer.show dims}, its placeholder {p.Type} {Infer.show p.Dims}"
            demand node (p.Outputs.Head = (dims, kind)) text "give both the same axes in the same order"

        List.iter2 (fun p (start: Node) -> same "start of a carry" p start.Outputs.Head) scan.Carries starts

        List.iter2
            (fun p (result: Node) -> same "result of a carry" p result.Outputs.Head)
            scan.Carries
            scan.CarryResults

        List.iter2 (fun p (capture: Node) -> same "capture" p capture.Outputs.Head) scan.Captures captures

        let slice p (stack: Node) =
            subset node [ scan.Dim ] stack.Dims
            same "slice" p (stack.Dims |> List.except [ scan.Dim ], stack.Type)

        List.iter2 slice scan.Slices stacks
        closed node scan own
        check placeholders scan.Results

    and private closed node scan own =
        for inner in Node.topological scan.Results do
            match inner.Op with
            | Op.Input _
            | Op.Param _
            | Op.State _ ->
                demand
                    node
                    (List.contains inner own)
                    (fun () -> $"the body uses {Print.node inner}")
                    "pass it in as a capture or a slice"
            | _ -> ()

    /// Checks the graph below `roots`, bodies of scans included.
    /// <exception cref="ModelError">What is wrong, at which node.</exception>
    let graph (roots: Node list) : unit =
        let placeholders = HashSet<int>()
        check placeholders roots

        for node in Node.topological roots do
            demand
                node
                (not (placeholders.Contains node.Id))
                (fun () -> "a scan's placeholder is used outside of its body")
                "use the scan's input, or its output"
