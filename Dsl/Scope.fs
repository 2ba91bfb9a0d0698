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
    /// Whether caches keep what came before the call.
    IsCached: bool
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
