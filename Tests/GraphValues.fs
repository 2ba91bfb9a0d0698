/// What the graph's tests share: small tensors and their evaluation.
module Legato.Tests.GraphValues

open System
open Legato.Dsl
open Legato.Compiler
open NUnit.Framework

let dim name size = { Name = name; Size = Fixed(int64 size) }
let floats name dims = Node.input name dims Float
let integers name dims = Node.input name dims Integer
let placeholder hint dims = Node.placeholder hint dims Float
let square x = Node.mul x x
let curved x = Node.map1 (fun v -> Un(Tanh, v)) x

let nameOf (node: Node) =
    match node.Op with
    | Op.Input(name, _, _)
    | Op.State(name, _) -> name
    | Op.Param(p, _) -> p.Path
    | op -> failwith $"{op} takes no value"

/// Evaluates with values by name, and the dynamic axes' sizes.
let evaluateWith (sizes: (string * int64) list) (values: (string * float list) list) roots =
    let table = Map.ofList values
    let dims = Map.ofList sizes

    Evaluate.run (fun node -> Array.ofList table[nameOf node]) (fun name -> dims[name]) roots
    |> List.map List.ofArray

let evaluate values root = evaluateWith [] values [ root ] |> List.exactlyOne

let elements (node: Node) =
    (1, node.Dims)
    ||> List.fold (fun n d ->
        match d.Size with
        | Fixed m -> n * int m
        | Dynamic _ -> failwith "dynamic")

/// Deterministic values without ties, by a linear congruence (Knuth 1997, section 3.3.4).
let random seed count =
    let mutable state = uint64 seed * 2654435761UL + 12345UL

    List.init count (fun _ ->
        state <- state * 6364136223846793005UL + 1442695040888963407UL
        float (state >>> 11) / float (1UL <<< 53) * 2.0 - 1.0)

let close (tolerance: float) (expected: float list) (actual: float list) =
    Assert.That(actual.Length, Is.EqualTo expected.Length)

    List.zip expected actual
    |> List.iteri (fun i (e, a) ->
        if not (e = a || abs (e - a) <= tolerance * max 1.0 (abs e)) then
            Assert.Fail $"element {i} is {a}, not {e}")

let message (action: unit -> unit) =
    try
        action ()
        Assert.Fail "a ModelError was expected"
        ""
    with ModelError(what, _, _) ->
        what
