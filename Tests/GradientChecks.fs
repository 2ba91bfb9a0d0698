/// Gradients against central finite differences, both in float64.
module Legato.Tests.GradientChecks

open Legato.Dsl
open Legato.Compiler
open Legato.Runtime.Plans
open Legato.Tests.GraphValues
open NUnit.Framework

let policies = [ Rematerialisation.None; Rematerialisation.Block ]
let private step = 1e-5
let private tolerance = 2e-7

/// A scalar that depends on every element of a node, each with a weight of its own.
let private weighted (node: Node) =
    let weights = floats $"weights of {Infer.show node.Dims}" node.Dims
    Node.reduce Sum node.Axes (Node.mul node weights)

/// The sum of all elements of all nodes, each with its own weight.
let lossOf (nodes: Node list) = nodes |> List.map weighted |> List.reduce Node.add

// A seed that is the same in every process, unlike a string's hash code.
let private seedOf (name: string) = (7, name) ||> Seq.fold (fun n letter -> (n * 31 + int letter) % 1_000_003)

/// What a test gives its inputs: random in (−1, 1) by their names, integers as given.
let private valuesOf (integerValues: (string * float list) list) (root: Node) =
    let given = Map.ofList integerValues

    [
        for node in Node.topological [ root ] do
            match node.Op with
            | Op.Input _
            | Op.Param _ ->
                let name = nameOf node
                name, given |> Map.tryFind name |> Option.defaultWith (fun () -> random (seedOf name) (elements node))
            | _ -> ()
    ]

/// The slopes along some of a variable's elements, each with its number: all of a small one's, some of a large one's.
let private differences values loss (variable: Node) =
    let name, count = nameOf variable, elements variable

    let at i shift =
        let moved =
            values
            |> List.map (fun (n, xs) ->
                n,
                (if n = name then
                     List.mapi (fun j x -> if i = j then x + shift else x) xs
                 else
                     xs))

        evaluate moved loss |> List.exactlyOne

    [ for i in 0 .. max 1 (count / 24) .. count - 1 -> i, (at i step - at i -step) / (2.0 * step) ]

let private compareGradients values slopes policy (loss: Node) (variables: Node list) =
    let gradients = Differentiate.gradient policy loss variables
    Verify.graph (gradients.Loss :: gradients.Of)
    let found = evaluateWith [] values (gradients.Loss :: gradients.Of)
    close 1e-13 (evaluate values loss) found.Head

    for variable, gradient, slopes, elements in
        List.zip3 variables gradients.Of slopes |> List.map2 (fun e (v, g, s) -> v, g, s, e) found.Tail do
        Assert.That((gradient.Outputs = variable.Outputs), $"the gradient's axes, {policy}")

        for i, slope in slopes do
            if abs (elements[i] - slope) > tolerance * max 1.0 (abs slope) then
                let graph = Print.graph [ "loss", loss; "gradient", gradient ]

                Assert.Fail
                    $"element {i} of {nameOf variable}'s gradient is {elements[i]}, not {slope}; keeping {policy}\n{graph}"

/// Checks the gradients of the loss of all floats that it depends on, under each policy.
let check (integerValues: (string * float list) list) (loss: Node) =
    Verify.graph [ loss ]
    let values = valuesOf integerValues loss

    let variables =
        Node.topological [ loss ]
        |> List.filter (fun node ->
            match node.Op with
            | Op.Input(_, _, Float)
            | Op.Param _ -> true
            | _ -> false)

    let slopes = variables |> List.map (differences values loss)

    for policy in policies do
        compareGradients values slopes policy loss variables
