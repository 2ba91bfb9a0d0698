/// Plans of one layer by itself, forward and backward: what is measured apart from any model.
///
/// Takes a layer from features to the same features and the positions and features that it is given; gives a plan that
/// runs it several times over, so that what a launch costs the caller is shared. Inputs and results lie in the plan's
/// input buffers: x, and forward y; backward dy, dx and a gradient for each parameter, named "d " and its path.
module Legato.Compiler.LayerPlan

open Legato.Dsl
open Legato.Runtime.Plans

let private plan name precision repeats (scope: Scope) updates =
    let request = PlanRequest(Purpose.Train, 1L, 1L, 1L, precision)

    let call: Specialise.Call = {
        Outputs = []
        Updates = updates
        Gradients = []
        Parameters = List.ofSeq scope.Declared
    }

    let lowered = Lower.call request.Purpose (Precision.ofRequest request) call
    let once = lowered.Steps |> List.fold (fun (sum: Cost) step -> sum + step.Cost) Cost.Zero
    let cost = Extent.Of(int64 repeats) * once
    let steps = [ Step.Loop("repeat", cost, "repeat", int64 repeats, false, List.toArray lowered.Steps) :> Step ]
    let buffers, arena = Layout.assign 0L _.Constant lowered.Drafts steps

    Plan(
        name,
        request.Purpose,
        request.Precision,
        [||],
        Array.ofList buffers,
        [||],
        Array.ofList lowered.Setup,
        Array.ofList steps,
        arena
    )

let private elaborate (layer: Layer<Tensor<'Pos, 'Feat> -> Tensor<'Pos, 'Feat>>) (dims: Dim list) =
    let one = Fixed 1L

    let scope =
        Scope.Root {
            Batch = one
            Sequence = one
            Context = one
            Source = None
            Dropout = 0.0
            IsCached = false
        }

    let x = Node.input "x" dims Float
    scope, x, (layer.Elaborate scope (Tensor<'Pos, 'Feat> x)).Node

/// y = f(x).
let forward precision repeats dims (layer: Layer<Tensor<'Pos, 'Feat> -> Tensor<'Pos, 'Feat>>) : Plan =
    let scope, _, y = elaborate layer dims
    plan "a layer" precision repeats scope [ Node.input "y" dims Float, y ]

/// dx and the parameters' gradients from x and dy, whatever of the forward pass they need included.
let backward precision repeats dims (layer: Layer<Tensor<'Pos, 'Feat> -> Tensor<'Pos, 'Feat>>) : Plan =
    let scope, x, y = elaborate layer dims
    let parameters = List.ofSeq scope.Declared
    let wrt = x :: (parameters |> List.map _.Node)
    let seeds = [ y, Node.input "dy" dims Float ]
    let found = Differentiate.gradientsFrom Rematerialisation.None seeds [] y wrt

    let targets =
        Node.input "dx" dims Float
        :: (parameters |> List.map (fun p -> Node.input ("d " + p.Parameter.Path) p.Node.Dims Float))

    plan "a layer's gradient" precision repeats scope (List.zip targets found.Of)
