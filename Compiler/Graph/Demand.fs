/// What a node may ask of its operands, as errors that name the node, and the types of scalar expressions.
module internal Legato.Compiler.Demand

open Legato.Dsl

let fail node what remedy = raise (ModelError(what, Print.node node, remedy))

let demand node condition what remedy =
    if not condition then
        fail node (what ()) remedy

let namesOf (dims: Dim list) = dims |> List.map (fun d -> d.Name)
let sorted (dims: Dim list) = dims |> List.sortBy (fun d -> d.Name)

/// The type of a scalar expression, every part of it checked.
let rec typed (node: Node) (arg: int -> ElementType) (variables: string list) scalar : ElementType =
    let again = typed node arg variables

    let wants kind part =
        let found = again part

        demand
            node
            (found = kind)
            (fun () -> $"{part} in {scalar} is {found}, not {kind}")
            "convert it, or mend the expression"

    match scalar with
    | Arg i -> arg i
    | Var "score" when List.contains "score" variables -> Float
    | Var name ->
        demand node (List.contains name variables) (fun () -> $"the variable {name} has no meaning here") "use operands"

        Integer
    | Num _ -> Float
    | Int _ -> Integer
    | Un(op, x) ->
        match op with
        | Not ->
            wants Boolean x
            Boolean
        | ToFloat ->
            demand node (again x <> Float) (fun () -> $"{scalar} converts what is a Float already") "leave ToFloat out"

            Float
        | IsFinite ->
            wants Float x
            Boolean
        | Neg
        | Abs
        | Detach ->
            demand node (again x <> Boolean) (fun () -> $"{scalar} of a Boolean") "use Not, or convert with ToFloat"
            again x
        | _ ->
            wants Float x
            Float
    | Bin(op, x, y) ->
        wants (again x) y

        match op with
        | And
        | Or ->
            wants Boolean x
            Boolean
        | Less
        | LessOrEqual
        | Equal -> Boolean
        | UniformAt ->
            wants Integer x
            Float
        | _ ->
            demand
                node
                (again x <> Boolean)
                (fun () -> $"{scalar} of Booleans")
                "use And and Or, or convert with ToFloat"

            again x
    | If(condition, x, y) ->
        wants Boolean condition
        wants (again x) y
        again x

let fixedSize (node: Node) (d: Dim) =
    match d.Size with
    | Fixed n -> n
    | Dynamic _ -> fail node $"the size of {d} must be fixed" "do this to fixed axes only"

let wantsType node (x: Node) kind =
    demand node (x.Type = kind) (fun () -> $"the operand {x} is {x.Type}, not {kind}") "convert it in a Map"

let subset node (small: Dim list) (large: Dim list) =
    for d in small do
        demand
            node
            (List.contains d large)
            (fun () -> $"the axis {d} is not in {Infer.show large}")
            "give both the same axes"

let sameAxes node (what: string) (found: Dim list) (expected: Dim list) =
    let text () = $"{what} has the axes {Infer.show found}, not {Infer.show expected}"
    demand node (sorted found = sorted expected) text "give both the same axes"

let part (node: Node) axis start length total =
    let text () = $"the elements {start} to {start + length} don't lie within {axis}:{total}"
    demand node (start >= 0L && length > 0L && start + length <= total) text "stay within the axis"
