namespace Legato.Compiler

open System
open System.Collections.Generic
open System.Globalization
open Legato.Dsl

/// The text of a graph: the same for the same graph, whatever else was built before it. A line a node, inputs before
/// users; the nodes of a scan's body are numbered within it and stand indented below it.
[<RequireQualifiedAccess>]
module Print =
    let private join (separator: string) (parts: string seq) = String.Join(separator, parts)
    let private number (x: float) = x.ToString("R", CultureInfo.InvariantCulture)
    let private kindOf (dims, kind: ElementType) = $"{kind} {Infer.show dims}"

    let private initializer i =
        match i with
        | Zeros -> "zeros"
        | Ones -> "ones"
        | Constant x -> $"constant {number x}"
        | Normal deviation -> $"normal {number deviation}"
        | Uniform bound -> $"uniform {number bound}"

    let private attention (form: AttendForm) =
        let extra name (expression: Scalar option) =
            match expression with
            | Some e -> $" {name} {e}"
            | None -> ""

        $"{form.Sequence}→{form.Context} {form.Heads}→{form.KeyHeads} {form.Feature}→{form.ValueFeature} scale {number form.Scale}"
        + extra "mask" form.Mask
        + extra "score" form.Score
        + (if form.Sinks then " sinks" else "")

    let private composite c =
        match c with
        | Rope form ->
            let order = if form.Interleaved then "interleaved" else "halves"
            let back = if form.Inverse then " inverse" else ""
            $"Rope {form.Feature} {form.Rotary} {order}{back}"
        | Attend form -> "Attend " + attention form
        | AttendGradient form -> "AttendGradient " + attention form
        | GroupedProduct form -> $"""GroupedProduct {form.Group} over {join ", " form.Summed}"""
        | GroupedGradient table -> $"GroupedGradient {table.Head.Name}"

    /// The operation with its attributes, without inputs.
    let private head op =
        match op with
        | Op.Input(name, _, _) -> $"Input {name}"
        | Op.Param(p, _) -> $"""Param {p.Path} {initializer p.Initializer}{if p.Decays then " decays" else ""}"""
        | Op.State(name, _) -> $"State {name}"
        | Op.Const x -> $"Const {number x}"
        | Op.ConstVector(xs, _) -> $"""ConstVector ({xs |> List.map number |> join ", "})"""
        | Op.Iota _ -> "Iota"
        | Op.Map scalar -> $"Map {scalar}"
        | Op.Reduce(reduction, axes) -> $"""Reduce {reduction} {join ", " axes}"""
        | Op.Contract axes -> $"""Contract {join ", " axes}"""
        | Op.Rename names -> "Rename " + (names |> List.map (fun (a, b) -> $"{a}→{b}") |> join ", ")
        | Op.Split(axis, outer, inner) -> $"Split {axis}→{outer} * {inner}"
        | Op.Merge(outer, inner, name) -> $"Merge {outer} * {inner}→{name}"
        | Op.Slice(axis, start, length) -> $"Slice {axis} from {start} take {length}"
        | Op.Pad(axis, before, total) -> $"Pad {axis} before {before} to {total}"
        | Op.Gather axis -> $"Gather {axis}"
        | Op.ScatterAdd axis -> $"ScatterAdd {axis}"
        | Op.TopK(axis, rank) -> $"TopK {axis}→{rank}"
        | Op.Append(context, sequence) -> $"Append {sequence}→{context}"
        | Op.Broadcast _ -> "Broadcast"
        | Op.Scan scan -> $"""Scan {scan.Dim}{if scan.Reversed then " reversed" else ""}"""
        | Op.Composite c -> composite c
        | Op.Item i -> $"Item {i}"

    /// A node by itself, its inputs by their global numbers: for messages.
    let node (n: Node) =
        let inputs = n.Inputs |> List.map string |> join ", "
        $"""{n} = {head n.Op} ({inputs}) : {n.Outputs |> List.map kindOf |> join ", "}"""

    /// Names for what carries a global number: placeholders by their hint and the order in which they occur.
    type private Hints() =
        let counts = Dictionary<string, int>()
        let names = Dictionary<int, string>()

        member _.Name(node: Node, name: string) =
            match names.TryGetValue node.Id with
            | true, known -> known
            | _ ->
                let hint = name.Substring(0, name.IndexOf '#')
                let count = counts.GetValueOrDefault hint
                counts[hint] <- count + 1
                names[node.Id] <- $"{hint}#{count}"
                names[node.Id]

    let private call (name: Node -> string) (hints: Hints) (node: Node) =
        match node.Op with
        | Op.Map scalar ->
            let shown = Scalar.mapArgs (fun i -> Var(name node.Inputs[i])) scalar
            $"Map {shown}"
        | Op.Input(hint, _, _) when Node.isPlaceholder node -> $"Input {hints.Name(node, hint)}"
        | Op.Scan _
        | _ when node.Inputs.IsEmpty -> head node.Op
        | op -> $"""{head op} ({node.Inputs |> List.map name |> join ", "})"""

    /// The lines of a graph below `roots`; `given` are its placeholders with what stands for them outside.
    let rec private lines
        hints
        indent
        prefix
        (given: (Node * string) list)
        (roots: (string * Node) list)
        : string list =
        let names = Dictionary<int, string>()
        let name (n: Node) = names[n.Id]

        let define (n: Node) text =
            names[n.Id] <- $"%%{prefix}{names.Count}"
            $"""{indent}{name n} = {text} : {n.Outputs |> List.map kindOf |> join ", "}"""

        [
            for placeholder, text in given do
                define placeholder text

            for n in roots |> List.map snd |> Node.topological do
                if not (names.ContainsKey n.Id) then
                    define n (call name hints n)

                    match n.Op with
                    | Op.Scan scan -> yield! body hints indent (name n) (List.map name n.Inputs) scan
                    | _ -> ()

            for label, root in roots do
                $"{indent}{label} {name root}"
        ]

    and private body hints indent owner inputs scan =
        let starts, rest = List.splitAt scan.Carries.Length inputs
        let stacks, captures = List.splitAt scan.Slices.Length rest
        let given word = List.map2 (fun placeholder input -> placeholder, $"{word} {input}")

        let placeholders =
            given "carry from" scan.Carries starts
            @ given "slice of" scan.Slices stacks
            @ given "capture of" scan.Captures captures

        let results =
            (scan.CarryResults |> List.map (fun r -> "carry", r))
            @ (scan.StackResults |> List.map (fun r -> "stack", r))
            @ (scan.LastResults |> List.map (fun r -> "last", r))

        lines hints (indent + "  ") (owner.Substring 1 + ".") placeholders results

    /// The graph below the labelled roots.
    let graph (roots: (string * Node) list) : string =
        lines (Hints()) "" "" [] roots |> List.map (fun line -> line + "\n") |> String.Concat
