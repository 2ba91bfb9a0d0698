namespace Legato.Dsl

open System
open System.Collections.Generic

/// Makes nodes. The same operation on the same inputs gives the same node.
[<RequireQualifiedAccess; CompilationRepresentation(CompilationRepresentationFlags.ModuleSuffix)>]
module Node =
    [<Struct; CustomEquality; NoComparison>]
    type private Key = {
        Op: Op
        Inputs: int list
    } with

        override this.GetHashCode() = HashCode.Combine(this.Op.GetHashCode(), this.Inputs)

        override this.Equals other =
            match other with
            | :? Key as k -> this.Inputs = k.Inputs && this.Op.Equals k.Op
            | _ -> false

    let private gate = obj ()
    let private table = Dictionary<Key, WeakReference<Node>>()
    let mutable private next = 0
    let mutable private pruneAt = 4096

    // Nodes of models that nobody holds any more leave the table.
    let private prune () =
        if table.Count > pruneAt then
            let dead = [
                for pair in table do
                    if not (pair.Value.TryGetTarget() |> fst) then
                        pair.Key
            ]

            for key in dead do
                table.Remove key |> ignore

            pruneAt <- max 4096 (2 * table.Count)

    /// <exception cref="ModelError">The axes don't fit.</exception>
    let make (op: Op) (inputs: Node list) : Node =
        let outputs =
            match op with
            | Op.Item i -> [ inputs.Head.Outputs[i] ]
            | _ -> Infer.outputs op (inputs |> List.map (fun n -> n.Outputs.Head))

        lock gate (fun () ->
            let key = { Op = op; Inputs = inputs |> List.map (fun n -> n.Id) }

            match table.TryGetValue key with
            | true, reference when (reference.TryGetTarget() |> fst) -> snd (reference.TryGetTarget())
            | _ ->
                next <- next + 1
                let node = Node(next, op, inputs, outputs)
                table[key] <- WeakReference<Node> node
                prune ()
                node)

    let private unique = ref 0

    /// An input that nothing else shares: what a scan's body calls its argument.
    let placeholder (hint: string) dims kind =
        make (Op.Input($"{hint}#{Threading.Interlocked.Increment unique}", dims, kind)) []

    /// Whether a node's value is written in the graph itself.
    let isConstant (node: Node) =
        match node.Op with
        | Op.Const _
        | Op.ConstVector _
        | Op.Iota _ -> true
        | _ -> false

    let isPlaceholder (node: Node) =
        match node.Op with
        | Op.Input(name, _, _) -> name.Contains '#'
        | _ -> false

    let input name dims kind = make (Op.Input(name, dims, kind)) []
    let number x = make (Op.Const x) []
    let iota dim = make (Op.Iota dim) []

    let map scalar (inputs: Node list) =
        // The operands that occur, each once: equal maps become the same node.
        let used = Scalar.args scalar
        let distinct = used |> List.map (fun i -> inputs[i]) |> List.distinct
        let position = used |> List.map (fun i -> i, Arg(List.findIndex ((=) inputs[i]) distinct)) |> Map.ofList
        let normal = Scalar.normalise (Scalar.mapArgs (fun i -> position[i]) scalar)

        match normal, distinct with
        | Arg 0, [ x ] -> x
        | _ -> make (Op.Map normal) distinct

    let map1 f x = map (f (Arg 0)) [ x ]
    let map2 f x y = map (f (Arg 0) (Arg 1)) [ x; y ]
    let add x y = map2 (+) x y
    let mul x y = map2 (*) x y
    let reduce reduction axes x = if List.isEmpty axes then x else make (Op.Reduce(reduction, axes)) [ x ]
    let contract axes x y = make (Op.Contract axes) [ x; y ]
    let rename names x = if List.isEmpty names then x else make (Op.Rename names) [ x ]
    let split axis outer inner x = make (Op.Split(axis, outer, inner)) [ x ]
    let merge outer inner name x = make (Op.Merge(outer, inner, name)) [ x ]
    let slice axis start length x = make (Op.Slice(axis, start, length)) [ x ]
    let pad axis before total x = make (Op.Pad(axis, before, total)) [ x ]
    let gather axis table index = make (Op.Gather axis) [ table; index ]
    let broadcast (dims: Dim list) (x: Node) = if x.Dims = dims then x else make (Op.Broadcast dims) [ x ]
    let zerosLike (x: Node) = broadcast x.Dims (number 0.0)
    let item i (x: Node) = if x.Outputs.Length = 1 then x else make (Op.Item i) [ x ]
    let composite c inputs = make (Op.Composite c) inputs

    let dim (axis: string) (x: Node) =
        match x.Dims |> List.tryFind (fun d -> d.Name = axis) with
        | Some d -> d
        | None -> Infer.fail $"there is no axis {axis}" (Infer.show x.Dims) "use an axis that the tensor has"

    let hasAxis axis (x: Node) = x.Dims |> List.exists (fun d -> d.Name = axis)

    /// The size of a fixed axis.
    let size axis (x: Node) =
        match (dim axis x).Size with
        | Fixed n -> n
        | Dynamic name ->
            Infer.fail
                $"the size of {axis} ({name}) is known at launch only"
                (Infer.show x.Dims)
                "reduce over feature axes"

    /// Nodes that `roots` need, inputs before users. Scan bodies are not entered.
    let topological (roots: Node seq) : Node list =
        let seen = HashSet<int>()
        let order = List<Node>()
        let stack = Stack<struct (Node * bool)>()

        for root in Seq.rev (Seq.toList roots) do
            stack.Push(struct (root, false))

        while stack.Count > 0 do
            let struct (node, entered) = stack.Pop()

            if entered then
                order.Add node
            elif seen.Add node.Id then
                stack.Push(struct (node, true))

                for input in List.rev node.Inputs do
                    if not (seen.Contains input.Id) then
                        stack.Push(struct (input, false))

        List.ofSeq order

    /// Rebuilds the graph below `roots`: `replace` gives a node's stand-in, from the node and its rebuilt inputs, or None to keep the operation.
    let rewrite (replace: Node -> Node list -> Node option) (roots: Node list) : Node list =
        let image = Dictionary<int, Node>()

        for node in topological roots do
            let inputs = node.Inputs |> List.map (fun i -> image[i.Id])

            image[node.Id] <-
                match replace node inputs with
                | Some other -> other
                | None -> if inputs = node.Inputs then node else make node.Op inputs

        roots |> List.map (fun r -> image[r.Id])

    /// Replaces nodes by others.
    let substitute (pairs: (Node * Node) list) roots =
        let table = Dictionary<int, Node>()

        for a, b in pairs do
            table[a.Id] <- b

        rewrite
            (fun node _ ->
                match table.TryGetValue node.Id with
                | true, other -> Some other
                | _ -> None)
            roots

    /// A scan over a body that may refer to anything: what doesn't depend on its placeholders becomes a capture.
    let scan
        dim
        reversed
        (carries: (Node * Node) list)
        (slices: (Node * Node) list)
        (carryResults: Node list)
        (stackResults: Node list)
        =
        let own = HashSet<int>(Seq.append carries slices |> Seq.map (fun (p, _) -> p.Id))
        let dependent = HashSet<int>()
        let order = topological (carryResults @ stackResults)

        for node in order do
            if own.Contains node.Id || node.Inputs |> List.exists (fun i -> dependent.Contains i.Id) then
                dependent.Add node.Id |> ignore

        let rec isWritten (n: Node) =
            match n.Op with
            | Op.Broadcast _ -> isWritten n.Inputs.Head
            | _ -> isConstant n

        let results = HashSet<int>((carryResults @ stackResults) |> List.map (fun n -> n.Id))

        let captured =
            order
            |> List.filter (fun n ->
                not (dependent.Contains n.Id)
                && not (isWritten n)
                && n.Outputs.Length = 1
                && (results.Contains n.Id
                    || order |> List.exists (fun u -> dependent.Contains u.Id && List.contains n u.Inputs)))

        let captures = captured |> List.map (fun n -> placeholder "capture" n.Dims n.Type, n)
        let closed = substitute (captures |> List.map (fun (p, n) -> n, p)) (carryResults @ stackResults)
        let carryEnds, stacks = List.splitAt carryResults.Length closed

        let body = {
            Dim = dim
            Reversed = reversed
            Carries = List.map fst carries
            Slices = List.map fst slices
            Captures = List.map fst captures
            CarryResults = carryEnds
            StackResults = stacks
            LastResults = []
        }

        make (Op.Scan body) (List.map snd carries @ List.map snd slices @ List.map snd captures)
