/// Dynamic loss scaling (Micikevicius et al. 2018, section 3.2): the scale lifts small gradients into float16's range. An
/// overflow skips the update and halves it, a long run without one doubles it. Its state is part of the step's graph.
module Legato.Compiler.LossScale

open Legato.Dsl
open Legato.Runtime.Plans

let private first = 65536.0
let private growthInterval = 2000.0

let private state name = Node.make (Op.State(name, [])) []

/// What the loss is multiplied by and the gradients are divided by. States start as zeros.
let current () : Node =
    state LossScale.Buffer |> Node.map1 (fun scale -> If(Bin(Equal, scale, Num 0.0), Num first, scale))

/// The next step's scale, and the steps since it last changed, from the norm of this step's gradients.
let updates (norm: Node) : (Node * Node) list =
    let steps = state "optimizer.good_steps"
    let unlessOverflow ifGood ifNot = If(Un(IsFinite, Arg 0), ifGood, ifNot)
    let grows = Bin(LessOrEqual, Num growthInterval, Arg 1 + Num 1.0)
    let scale = unlessOverflow (If(grows, Num 2.0 * Arg 2, Arg 2)) (Bin(Max, Num 1.0, Num 0.5 * Arg 2))
    let count = unlessOverflow (If(grows, Num 0.0, Arg 1 + Num 1.0)) (Num 0.0)

    [
        state LossScale.Buffer, Node.map scale [ norm; steps; current () ]
        steps, Node.map count [ norm; steps ]
    ]
