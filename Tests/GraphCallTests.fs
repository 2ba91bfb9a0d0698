/// The graphs of each kind of call: sound, and the same function of the tokens.
module Legato.Tests.GraphCallTests

open Legato.Dsl
open Legato.Compiler
open Legato.Runtime.Plans
open Legato.Tests.GraphValues
open NUnit.Framework

let private model = GraphSamples.model (GraphSamples.decoder GraphSamples.sizes)
let private callOf model purpose = Specialise.call model (PlanRequest(purpose, 2L, 4L, 8L))
let private call = callOf model
let private rootsOf (c: Specialise.Call) = (c.Outputs |> List.map snd) @ (c.Updates |> List.map snd)

[<Test>]
let ``every call's graph passes the verifier`` ([<Values>] purpose: Purpose) = Verify.graph (rootsOf (call purpose))

[<Test>]
let ``training passes the verifier, whatever it keeps and however many batches it adds up``
    ([<Values>] keeps: Rematerialisation)
    ([<Values(1L, 3L)>] accumulate: int64)
    =
    let request = PlanRequest(Purpose.Train, 2L, 4L, 4L, Accumulate = accumulate, Rematerialisation = keeps)
    Verify.graph (rootsOf (Specialise.call model request))

let private parametersOf (c: Specialise.Call) = [
    for p in c.Parameters -> p.Parameter.Path, random p.Parameter.Path.Length (elements p.Node)
]

let private vocabulary = 11
let private tokens = [ [ 1.0; 7.0; 3.0; 10.0 ]; [ 4.0; 0.0; 0.0; 2.0 ] ]

/// Logits of one position, and the caches after a call on part of the tokens.
let private cached model purpose past (part: float list list) states =
    let c = callOf model purpose
    let count = part.Head.Length

    let inputs = [
        "tokens", List.concat part
        "past", [ past; past ]
        "last", [ float (count - 1); float (count - 1) ]
    ]

    let values =
        evaluateWith [ "batch", 2L; "seq", int64 count ] (parametersOf c @ states @ inputs) (rootsOf c)

    values.Head, List.map2 (fun (state, _) value -> nameOf state, value) c.Updates values.Tail

/// A model of GraphSamples.sizes gives over a cache what it gives over the whole text.
let cachingAgrees model =
    let forward = callOf model Purpose.Forward
    let given = ("tokens", List.concat tokens) :: parametersOf forward
    let whole = (evaluateWith [] given (forward.Outputs |> List.map snd)).Head

    let at position =
        whole
        |> List.chunkBySize vocabulary
        |> List.indexed
        |> List.filter (fun (i, _) -> i % 4 = position)
        |> List.collect snd

    // What lies in a cache beyond its end must not matter.
    let size (state: Node) =
        state.Dims
        |> List.fold
            (fun n d ->
                match d.Size with
                | Fixed m -> n * int m
                | Dynamic _ -> n * tokens.Length)
            1

    let states = [ for state, _ in (callOf model Purpose.Prefill).Updates -> nameOf state, random 3 (size state) ]

    let logits, states = cached model Purpose.Prefill 0.0 (tokens |> List.map (List.take 3)) states
    close 1e-12 (at 2) logits
    let logits, _ = cached model Purpose.Decode 3.0 (tokens |> List.map (List.skip 3)) states
    close 1e-12 (at 3) logits

[<Test>]
let ``prefill and decode give the logits of the whole sequence`` () = cachingAgrees model
