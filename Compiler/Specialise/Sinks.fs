/// Attention with sinks as attention without, whose kernels know none.
///
/// Takes a graph after differentiation; gives one in which every attention's softmax is over its keys alone, and what a
/// query leaves to its sink is taken off afterwards.
module Legato.Compiler.Sinks

open Legato.Dsl

// log(exp sum + exp sink): a query that sees no key has the sum −∞.
let private added sum sink = Bin(Max, sum, sink) + Un(Log, Num 1.0 + Un(Exp, -Un(Abs, sum - sink)))

/// Plain attention behind every attention with sinks.
let apart (roots: Node list) : Node list =
    roots
    |> Simplify.rewriteDeep (fun node inputs ->
        match node.Op, inputs with
        | Op.Item i, [ attention ] ->
            match attention.Op with
            | Op.Composite(Attend form) when form.Sinks ->
                let sinks = attention.Inputs[3]
                let plain = Node.composite (Attend { form with Sinks = false }) (List.removeAt 3 attention.Inputs)
                let sum = Node.item 1 plain

                if i = 1 then
                    Some(Node.map2 added sum sinks |> Node.broadcast sum.Dims)
                else
                    let kept = Node.map2 (fun sum sink -> Num 1.0 / (Num 1.0 + Un(Exp, sink - sum))) sum sinks
                    Some(Node.mul (Node.item 0 plain) kept)
            | _ -> None
        | _ -> None)
