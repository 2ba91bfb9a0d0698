/// AdamW with clipping by the global gradient norm, as part of the training step's graph.
module Legato.Compiler.Optimizer

open Legato.Dsl
open Legato.Runtime.Plans
open Legato.Compiler.Precision

let private scalarInput name = Node.input name [] Float

// The float32 value of a parameter that the model reads in fewer bytes.
let private master (path: string) (p: Node) = Node.make (Op.State(MasterWeights.Prefix + path, p.Dims)) []

/// The norm of all gradients, and each parameter's and moment's new value (Loshchilov and Hutter 2019, algorithm 2;
/// ε after the square root of the corrected second moment, decay apart from the gradient). Where the precision has
/// masters, they are what is updated, and the parameter is their value rounded. A norm that is not finite leaves
/// everything as it was. The gradients are multiplied by `scale`, the norm is not.
let adamW
    (precision: Precision)
    (settings: OptimizerSettings)
    (scale: Node)
    (parameters: (Parameter * Node) list)
    (gradients: Node list)
    : Node * (Node * Node) list =
    let rate = scalarInput "rate"
    let correction1, correction2 = scalarInput "correction1", scalarInput "correction2"

    let squares = gradients |> List.map (fun g -> Node.map1 (fun x -> x * x) g |> Node.reduce Sum g.Axes)

    let total = List.indexed squares |> List.map (fst >> Arg) |> List.reduce (+)
    let norm = Node.map2 (/) (Node.map (Un(Sqrt, total)) squares) scale

    let clip =
        if settings.Clip > 0.0 then
            Node.map1 (fun n -> Bin(Min, Num 1.0, Num settings.Clip / (n + Num 1e-6))) norm
        else
            Node.number 1.0

    let keepUnlessFinite (fresh: Node) (old: Node) =
        Node.map (If(Un(IsFinite, Arg 0), Arg 1, Arg 2)) [ norm; fresh; old ]

    let update (parameter: Parameter, p: Node) (gradient: Node) =
        let moment which = Node.make (Op.State($"optimizer.{which}.{parameter.Path}", p.Dims)) []
        let m, v = moment "m", moment "v"
        let g = Node.map (Arg 0 * (Arg 1 / Arg 2)) [ gradient; clip; scale ]
        let m' = Node.map2 (fun m g -> Num settings.Beta1 * m + Num(1.0 - settings.Beta1) * g) m g
        let v' = Node.map2 (fun v g -> Num settings.Beta2 * v + Num(1.0 - settings.Beta2) * (g * g)) v g

        let step =
            Node.map (Arg 0 / Arg 2 / (Un(Sqrt, Arg 1 / Arg 3) + Num settings.Epsilon)) [
                m'
                v'
                correction1
                correction2
            ]

        let decay = if parameter.Decays then settings.WeightDecay else 0.0
        let updated w = keepUnlessFinite (Node.map (Arg 0 - Arg 1 * (Arg 2 + Num decay * Arg 0)) [ w; rate; step ]) w
        let moments = [ m, keepUnlessFinite m' m; v, keepUnlessFinite v' v ]

        if precision.HasMasters then
            let w = master parameter.Path p
            // A node of its own: the same number, stored as the model reads it.
            (p, Node.map1 (fun x -> Un(Detach, x)) (updated w)) :: (w, updated w) :: moments
        else
            (p, updated p) :: moments

    norm, List.map2 update parameters gradients |> List.concat
