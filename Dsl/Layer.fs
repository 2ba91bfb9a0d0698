namespace Legato.Dsl

open System
open System.Collections.Generic

/// A call's sizes: what batch, sequence and context are for one elaboration.
type CallSizes = {
    Batch: Size
    Sequence: Size
    Context: Size
    /// The length of the text that an encoder reads; None where there is none.
    Source: Size option
    /// The share of numbers that dropout drops: 0 in calls that don't train.
    Dropout: float
}

/// A parameter as elaborated: its full axes, those of `stack` and `routed` in front.
type Declared = {
    Parameter: Parameter
    Node: Node
    /// How many of its own axes (those after `stack`'s and `routed`'s) make up each axis of the matrix, table or vector
    /// that it is in a checkpoint: [2; 1] for (heads, head size) × embed.
    Grouping: int list
    /// Which layers of the model the first axis of `stackOf` counts; empty: 0, 1, …
    Numbers: int list
}

/// What a router did in a call: sums over the call's tokens, each over the experts and the loops around the router.
type RouterReport = {
    /// Where the router stands among the parameters.
    Path: string
    Experts: Dim
    /// How many experts a token is sent to.
    Chosen: int
    /// Weight of the load-balancing loss.
    Balance: float
    /// Weight of the squared log-sum-exp of the logits.
    ZLoss: float
    /// How many tokens each expert got.
    Load: Node
    /// The sum of its probabilities.
    Probability: Node
    /// The sum of the squared log-sum-exp.
    Spread: Node
    /// A bias that is no matter of the gradient, and how far a step moves it.
    Correction: (Node * float) option
}

/// What a training call is to tell at each position beside the next token.
type Foretold = {
    /// How many positions behind the next token it stands.
    By: int
    /// How much its mean loss counts.
    Weight: float
    Logits: Node
}

/// One surrounding combinator: most put an axis before every parameter inside.
[<NoComparison; NoEquality>]
type internal Frame =
    /// A loop: inside, a parameter is one slice. Lists slices and states in the order of their declaration.
    | Stacked of Dim * slices: List<Node * Node> * updates: List<Node * Node> * reports: List<RouterReport>
    /// A plain extra axis.
    | Widened of Dim
    /// No axis: a part whose states no call keeps.
    | Aside of updates: List<Node * Node>

/// What a layer's elaboration knows and collects.
type Scope
    internal
    (
        path: string list,
        numbers: int list,
        frames: Frame list,
        sizes: CallSizes,
        declared: Dictionary<string, Declared>,
        axes: Dictionary<string, Size * string>,
        updates: List<Node * Node>,
        reports: List<RouterReport>,
        foretold: List<Foretold>
    ) =
    static member internal Root sizes = Scope([], [], [], sizes, Dictionary(), Dictionary(), List(), List(), List())
    member _.Sizes = sizes
    member _.Declared = declared.Values :> seq<Declared>
    /// States with their values after the call.
    member _.Updates = updates :> seq<Node * Node>
    /// What the routers did in the call.
    member _.Reports = reports :> seq<RouterReport>
    /// What training tells beside the next token.
    member _.Foretold = foretold :> seq<Foretold>
    member internal _.Foretell told = foretold.Add told

    member private _.With(path, numbers, frames) =
        Scope(path, numbers, frames, sizes, declared, axes, updates, reports, foretold)

    member internal this.Within name = this.With(path @ [ name ], numbers, frames)
    member internal this.Framed frame = this.With(path, numbers, frames @ [ frame ])

    /// Where parameters are those of these layers of the model.
    member internal this.Numbered layers = this.With(path, layers, frames)
    member _.PathOf name = String.Join('.', path @ [ name ])

    member private _.Prefix =
        frames
        |> List.choose (function
            | Stacked(d, _, _, _)
            | Widened d -> Some d
            | Aside _ -> None)

    // A loop's axis is the loop's own: another loop over an axis of that name may be longer.
    member private this.Check(where: string, dims: Dim list) =
        for name, count in this.Prefix @ dims |> List.countBy (fun d -> d.Name) do
            if count > 1 then
                let remedy = $"give one of the loops or features around {where} an axis type of its own"
                raise (ModelError($"the axis {name} would occur twice in {where}", where, remedy))

        for d in dims do
            match axes.TryGetValue d.Name with
            | true, (size, first) when size <> d.Size ->
                raise (
                    ModelError(
                        $"the axis {d.Name} has two sizes: {size} at {first}, {d.Size} at {where}",
                        $"{first} and {where}",
                        $"use one axis value for {d.Name}, or two axis types"
                    )
                )
            | true, _ -> ()
            | _ -> axes[d.Name] <- (d.Size, where)

    // What a tensor that lies outside all loops is inside them: one slice for each.
    member private _.Enter(node: Node) =
        (node, frames)
        ||> List.fold (fun node frame ->
            match frame with
            | Aside _
            | Widened _ -> node
            | Stacked(dim, slices, _, _) ->
                let slice = Node.placeholder "slice" (node.Dims |> List.filter (fun d -> d.Name <> dim.Name)) node.Type
                slices.Add(slice, node)
                slice)

    /// `groups`: the parameter's axes, as a checkpoint groups them into those of one matrix, table or vector.
    member internal this.Declare(name, groups: Dim list list, initializer, decays) : Node =
        let full = this.PathOf name
        let own = List.concat groups
        let all = this.Prefix @ own
        this.Check(full, own)

        if declared.ContainsKey full then
            raise (
                ModelError($"the parameter {full} is declared twice", full, "give one of the two layers another name")
            )

        let parameter = { Path = full; Initializer = initializer; Decays = decays }
        let node = Node.make (Op.Param(parameter, all)) []

        declared[full] <- {
            Parameter = parameter
            Node = node
            Grouping = List.map List.length groups
            Numbers = numbers
        }

        this.Enter node

    /// A state (a cache) and how its value after the call is told.
    member internal this.State(name, dims: Dim list) : Node * (Node -> unit) =
        let node = Node.make (Op.State(this.PathOf name, this.Prefix @ dims)) []
        let inner = this.Enter node
        let told: List<Node * Node> = this.Outward
        inner, fun updated -> told.Add(inner, updated)

    /// The index of each loop's iteration, from the outermost loop in: integers.
    member internal this.Layers: Node list =
        frames
        |> List.choose (function
            | Stacked(dim, _, _, _) -> Some(this.Enter(Node.iota dim))
            | Widened _
            | Aside _ -> None)

    /// The updates of the innermost loop or part around, or of the whole call.
    member internal _.Outward: List<Node * Node> =
        List.rev frames
        |> List.tryPick (function
            | Stacked(_, _, inside, _)
            | Aside inside -> Some inside
            | Widened _ -> None)
        |> Option.defaultValue updates

    /// Tells what a router did to the loop around it, or to the whole call.
    member internal _.Report(report: RouterReport) =
        let around =
            List.rev frames
            |> List.tryPick (function
                | Stacked(_, _, _, inside) -> Some inside
                | Aside _
                | Widened _ -> None)

        (Option.defaultValue reports around).Add report

/// A piece of a model: parameters under a path, and what they compute.
[<Sealed>]
type Layer<'T> internal (elaborate: Scope -> 'T) =
    member internal _.Elaborate scope = elaborate scope

[<RequireQualifiedAccess>]
module Layer =
    /// A layer without parameters.
    let value x = Layer(fun _ -> x)

    /// A layer with the same parameters that computes something else of them.
    let map f (inner: Layer<'A>) : Layer<'B> = Layer(fun scope -> f (inner.Elaborate scope))

/// The builder behind `layer "name" { let! … and! … return … }`.
[<Sealed>]
type LayerBuilder internal (name: string) =
    member _.MergeSources(a: Layer<'A>, b: Layer<'B>) : Layer<'A * 'B> =
        Layer(fun scope -> let x = a.Elaborate scope in x, b.Elaborate scope)

    member _.BindReturn(a: Layer<'A>, f: 'A -> 'B) : Layer<'B> = Layer(fun scope -> f (a.Elaborate scope))

    member _.Bind(a: Layer<'A>, f: 'A -> Layer<'B>) : Layer<'B> =
        Layer(fun scope -> (f (a.Elaborate scope)).Elaborate scope)

    member _.Return(x: 'A) : Layer<'A> = Layer(fun _ -> x)

    // Chosen by the compiler where the last line has no return; never callable.
    [<CompilerMessage("A layer ends in 'return'.", 10001, IsError = true)>]
    member _.Zero() : Layer<unit> = Layer ignore

    member _.Run(a: Layer<'A>) : Layer<'A> = Layer(fun scope -> a.Elaborate(scope.Within name))

/// Keys and values of earlier positions: a pure value. `Append` gives the extended keys and values.
[<Sealed>]
type Cache<'Heads, 'Key, 'Value> internal (append: Node -> Node -> Node * Node) =
    member _.Append
        (k: Tensor<'B * Seq, 'Heads * 'Key>, v: Tensor<'B * Seq, 'Heads * 'Value>)
        : Tensor<'B * Context, 'Heads * 'Key> * Tensor<'B * Context, 'Heads * 'Value> =
        let keys, values = append k.Node v.Node
        Tensor keys, Tensor values

[<AutoOpen>]
module LayerFunctions =
    /// Names a group of parameters: `layer "mlp" { let! up = weight "up" c.Embed c.Mlp … }`.
    let layer name = LayerBuilder name

    let private pathIsPlain (name: string) =
        name <> "" && name |> Seq.forall (fun c -> Char.IsAsciiLetterOrDigit c || c = '_')

    let private checkName name (scope: Scope) =
        if not (pathIsPlain name) then
            raise (ModelError($"'{name}' can't name a parameter", scope.PathOf name, "use letters, digits and _"))

    /// A matrix with its own initialiser.
    let weightOf (initializer: Initializer) name (input: Axis<'In>) (output: Axis<'Out>) : Layer<Weight<'In, 'Out>> =
        Layer(fun scope ->
            checkName name scope
            let outNames = output.Dims |> List.map (fun d -> d.Name)
            // A matrix from an axis to itself needs two names for it.
            let primed (d: Dim) = if List.contains d.Name outNames then { d with Name = d.Name + "'" } else d
            let inDims = List.map primed input.Dims

            let renamed =
                List.zip input.Dims inDims
                |> List.choose (fun (a, b) -> if a.Name = b.Name then None else Some(a.Name, b.Name))

            let node = scope.Declare(name, [ output.Dims; inDims ], initializer, true)
            Weight(node, inDims |> List.map (fun d -> d.Name), renamed))

    /// A matrix, at first normal with deviation 0.02 (Radford et al. 2019).
    let weight name (input: Axis<'In>) (output: Axis<'Out>) : Layer<Weight<'In, 'Out>> =
        weightOf (Normal 0.02) name input output

    /// A vector with its own initialiser.
    let vectorOf (initializer: Initializer) name (feature: Axis<'Feat>) : Layer<Vector<'Feat>> =
        Layer(fun scope ->
            checkName name scope
            Vector(scope.Declare(name, [ feature.Dims ], initializer, false)))

    /// A vector to multiply with, at first ones.
    let gain name feature = vectorOf Ones name feature

    /// A vector to add, at first zeros.
    let bias name feature = vectorOf Zeros name feature

    let embeddingOf
        (initializer: Initializer)
        name
        (index: Axis<'Index>)
        (feature: Axis<'Feat>)
        : Layer<Embedding<'Index, 'Feat>> =
        Layer(fun scope ->
            checkName name scope
            Embedding(scope.Declare(name, [ index.Dims; feature.Dims ], initializer, true), index.Dims.Head.Name))

    /// A table of rows, at first normal with deviation 0.02.
    let embedding name (index: Axis<'Index>) (feature: Axis<'Feat>) = embeddingOf (Normal 0.02) name index feature

    let private pastOf (batch: Dim list) = Node.input "past" batch Integer

    /// Positions of the call's tokens: those in the cache come before.
    let positions (tokens: Tensor<Batch * Seq, 'Feat>) : Tensor<Batch * Seq, unit> =
        let dims = tokens.Node.Dims
        let batch = dims |> List.filter (fun d -> d.Name = "Batch")
        Tensor(Node.add (pastOf batch) (Node.iota (Node.dim "Seq" tokens.Node)))

    /// Later rows of a table of positions.
    let shifted (by: int) (positions: Tensor<'Pos, unit>) : Tensor<'Pos, unit> =
        Tensor(Node.map1 (fun p -> p + Int(int64 by)) positions.Node)

    /// The features of the first position.
    let firstOf (x: Tensor<Batch * Seq, 'Feat>) : Tensor<Batch, 'Feat> =
        Tensor(Node.slice "Seq" 0L 1L x.Node |> Node.reduce Sum [ "Seq" ])

    /// A cache of keys and values of two sizes, for as many positions as the call asks for, at most `context`.
    let cacheOf
        name
        (context: Axis<Context>)
        (heads: Axis<'Heads>)
        (key: Axis<'Key>)
        (value: Axis<'Value>)
        : Layer<Cache<'Heads, 'Key, 'Value>> =
        Layer(fun scope ->
            checkName name scope
            let limit = int64 context.Size

            match scope.Sizes.Context with
            | Fixed n when n > limit ->
                let remedy = $"use a context of at most {limit}"

                raise (
                    ModelError(
                        $"a cache of {n} positions goes beyond the model's context of {limit}",
                        scope.PathOf name,
                        remedy
                    )
                )
            | _ -> ()

            match scope.Sizes.Sequence, scope.Sizes.Context with
            | Fixed sequence, Fixed n when sequence > n ->
                let remedy = $"use a sequence of at most {n}, or a longer cache"

                raise (
                    ModelError(
                        $"a sequence of {sequence} positions goes beyond the cache of {n}",
                        scope.PathOf name,
                        remedy
                    )
                )
            | _ -> ()

            let batch = { Name = "Batch"; Size = scope.Sizes.Batch }
            let context = { Name = "Context"; Size = scope.Sizes.Context }
            let dims feature = batch :: context :: heads.Dims @ feature
            let keys, tellKeys = scope.State(name + "_k", dims key.Dims)
            let values, tellValues = scope.State(name + "_v", dims value.Dims)

            let append state tell (value: Node) =
                let updated = Node.make (Op.Append("Context", "Seq")) [ state; value; pastOf [ batch ] ]
                tell updated
                updated

            Cache(fun k v -> append keys tellKeys k, append values tellValues v))

    /// A cache of keys and values of one size.
    let cache name context heads (dim: Axis<'Dim>) = cacheOf name context heads dim dim

    let private reported (report: RouterReport) = [ report.Load; report.Probability; report.Spread ]

    /// The layer `count` times in a row, its parameters with the axis in front: one loop in the plan.
    let stack
        (count: Axis<'Count>)
        (inner: Layer<Tensor<'Pos, 'Feat> -> Tensor<'Pos, 'Feat>>)
        : Layer<Tensor<'Pos, 'Feat> -> Tensor<'Pos, 'Feat>> =
        Layer(fun scope ->
            let dim = List.exactlyOne count.Dims
            let slices, updates, reports = List<Node * Node>(), List<Node * Node>(), List<RouterReport>()
            let f = inner.Elaborate(scope.Framed(Stacked(dim, slices, updates, reports)))

            fun x ->
                let carry = Node.placeholder "carry" x.Node.Dims x.Node.Type
                updates.Clear()
                reports.Clear()
                let y = f (Tensor carry)
                let stacked = slices |> List.ofSeq
                let states = updates |> List.ofSeq
                let told = reports |> List.ofSeq
                let kept = List.map snd states @ List.collect reported told
                let loop = Node.scan dim false [ carry, x.Node ] stacked [ y.Node ] kept
                let wholeOf slice = stacked |> List.find (fun (p, _) -> p = slice) |> snd

                states |> List.iteri (fun i (slice, _) -> scope.Outward.Add(wholeOf slice, Node.item (1 + i) loop))

                told
                |> List.iteri (fun i report ->
                    let item j = Node.item (1 + states.Length + 3 * i + j) loop

                    scope.Report {
                        report with
                            Load = item 0
                            Probability = item 1
                            Spread = item 2
                            Correction = report.Correction |> Option.map (fun (bias, speed) -> wholeOf bias, speed)
                    })

                Tensor(Node.item 0 loop))

    /// Left to right composition of layers.
    let (>=>) (f: Layer<'A -> 'B>) (g: Layer<'B -> 'C>) : Layer<'A -> 'C> =
        Layer(fun scope ->
            let first = f.Elaborate scope
            first >> g.Elaborate scope)
