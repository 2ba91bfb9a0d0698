/// The axes and types of a node's outputs, from its operation and inputs; a mistake is a ModelError that names the axes.
module internal Legato.Dsl.Infer



let show (dims: Dim list) = "[" + System.String.Join(", ", dims) + "]"

let fail (what: string) (where: string) (remedy: string) : 'a = raise (ModelError(what, where, remedy))

let private find (dims: Dim list) axis context =
    match dims |> List.tryFind (fun d -> d.Name = axis) with
    | Some d -> d
    | None -> fail $"there is no axis {axis} in {show dims}" context "use an axis that the tensor has"

let private without axes (dims: Dim list) = dims |> List.filter (fun d -> not (List.contains d.Name axes))

let private distinct context (dims: Dim list) =
    match dims |> List.countBy (fun d -> d.Name) |> List.tryFind (fun (_, n) -> n > 1) with
    | Some(axis, _) -> fail $"the axis {axis} would occur twice in {show dims}" context "rename one of the two"
    | None -> dims

/// All axes of the widest tensor in its order, then what the others add. An axis with two sizes is an error.
let union context (all: Dim list list) =
    let ordered = all |> List.sortByDescending List.length

    (([]: Dim list), List.concat ordered)
    ||> List.fold (fun found d ->
        match found |> List.tryFind (fun f -> f.Name = d.Name) with
        | None -> found @ [ d ]
        | Some f when f.Size = d.Size -> found
        | Some f ->
            fail
                $"the axis {d.Name} has two sizes, {f.Size} and {d.Size}"
                context
                "give both tensors the same axis value")

let rec typeOf (args: ElementType list) scalar =
    let again = typeOf args

    match scalar with
    | Arg i -> args[i]
    | Var "score" -> Float
    | Var _
    | Int _ -> Integer
    | Num _ -> Float
    | Un(op, x) ->
        match op with
        | Not
        | IsFinite -> Boolean
        | ToFloat -> Float
        | _ -> again x
    | Bin(op, x, y) ->
        let tx, ty = again x, again y

        if tx <> ty then
            fail $"{op} of a {tx} and a {ty}" (string scalar) "convert one with ToFloat"

        match op with
        | Less
        | LessOrEqual
        | Equal
        | And
        | Or -> Boolean
        | _ -> tx
    | If(_, x, _) -> again x

let private product context (a: Dim) (b: Dim) =
    match a.Size, b.Size with
    | Fixed m, Fixed n -> Fixed(m * n)
    | _ -> fail $"{a} and {b} can't be merged: only fixed sizes can" context "merge feature axes only"

let rec outputs (op: Op) (inputs: (Dim list * ElementType) list) : (Dim list * ElementType) list =
    let dims i = fst inputs[i]
    let kind i = snd inputs[i]
    let context = (op.GetType().Name)

    match op with
    | Op.Input(_, dims, t) -> [ distinct context dims, t ]
    | Op.Param(_, dims)
    | Op.State(_, dims) -> [ distinct context dims, Float ]
    | Op.Const _ -> [ [], Float ]
    | Op.ConstVector(_, dim) -> [ [ dim ], Float ]
    | Op.Iota dim -> [ [ dim ], Integer ]
    | Op.Map scalar -> [ union $"Map {scalar}" (List.map fst inputs), typeOf (List.map snd inputs) scalar ]
    | Op.Reduce(_, axes) ->
        for axis in axes do
            find (dims 0) axis context |> ignore

        [ without axes (dims 0), kind 0 ]
    | Op.Contract axes ->
        for axis in axes do
            let a, b = find (dims 0) axis context, find (dims 1) axis context

            if a.Size <> b.Size then
                fail
                    $"the axis {axis} has two sizes, {a.Size} and {b.Size}"
                    $"product of {show (dims 0)} and {show (dims 1)}"
                    "give both the same axis value"

        union context [ dims 0; dims 1 ] |> ignore
        let left = without axes (dims 0)
        [ left @ without (axes @ (left |> List.map (fun d -> d.Name))) (dims 1), Float ]
    | Op.Rename names ->
        let rename (d: Dim) =
            match List.tryFind (fun (a, _) -> a = d.Name) names with
            | Some(_, b) -> { d with Name = b }
            | None -> d

        [ distinct context (List.map rename (dims 0)), kind 0 ]
    | Op.Split(axis, outer, inner) ->
        let d = find (dims 0) axis context

        if product context outer inner <> d.Size then
            fail $"{d} can't be split into {outer} and {inner}" context "choose sizes whose product is the axis' size"

        [
            distinct context (dims 0 |> List.collect (fun x -> if x = d then [ outer; inner ] else [ x ])), kind 0
        ]
    | Op.Merge(outer, inner, name) ->
        let a, b = find (dims 0) outer context, find (dims 0) inner context

        [
            dims 0
            |> List.collect (fun d ->
                if d = a then [ { Name = name; Size = product context a b } ]
                elif d = b then []
                else [ d ])
            |> distinct context,
            kind 0
        ]
    | Op.Slice(axis, _, length) ->
        find (dims 0) axis context |> ignore

        [
            dims 0 |> List.map (fun d -> if d.Name = axis then { d with Size = Fixed length } else d), kind 0
        ]
    | Op.Pad(axis, _, total) ->
        find (dims 0) axis context |> ignore
        [ dims 0 |> List.map (fun d -> if d.Name = axis then { d with Size = Fixed total } else d), kind 0 ]
    | Op.Gather axis ->
        find (dims 0) axis context |> ignore
        let index = dims 1
        [ index @ without (axis :: List.map (fun (d: Dim) -> d.Name) index) (dims 0), kind 0 ]
    | Op.ScatterAdd _ -> [ dims 0, kind 0 ]
    | Op.TopK(axis, rank) ->
        find (dims 0) axis context |> ignore
        let out = without [ axis ] (dims 0) @ [ rank ]
        [ out, Float; out, Integer ]
    | Op.Append _ -> [ dims 0, kind 0 ]
    | Op.Broadcast target -> [ target, kind 0 ]
    | Op.Scan scan -> [
        for r in scan.CarryResults do
            r.Dims, r.Type
        for r in scan.StackResults do
            distinct context (scan.Dim :: r.Dims), r.Type
        for r in scan.LastResults do
            r.Dims, r.Type
      ]
    | Op.Composite(Rope _) -> [ dims 0, Float ]
    | Op.Composite(Attend form) ->
        let value = find (dims 2) form.ValueFeature context
        let rows = without [ form.Feature ] (dims 0)
        let heads = find rows form.Heads context
        let sequence = find rows form.Sequence context
        let lse = without [ form.Heads; form.Sequence ] rows @ [ heads; sequence ]
        [ rows @ [ value ], Float; lse, Float ]
    | Op.Composite(AttendGradient _) -> [ dims 0, Float; dims 1, Float; dims 2, Float ]
    | Op.Composite(GroupedProduct form) ->
        let picked = outputs (Op.Gather form.Group) inputs.Tail
        outputs (Op.Contract form.Summed) [ inputs.Head; picked.Head ] |> ignore
        [ without form.Summed (fst picked.Head), Float ]
    | Op.Composite(GroupedGradient table) -> [ table, Float ]
    | Op.Item i -> [ inputs[i] ]
