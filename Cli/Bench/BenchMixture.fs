/// `legato bench moe`: the products of a mixture of experts, routed at random, beside dense products of the same size.
module Legato.Cli.BenchMixture

open System
open System.Runtime.InteropServices
open Legato.Compiler
open Legato.Runtime.Checkpoints
open Legato.Runtime.Cuda
open Legato.Runtime.Devices
open Legato.Runtime.Plans

type Sizes = {
    Tokens: int
    Experts: int
    /// Experts for each token.
    Chosen: int
    /// Features of a token, and of what an expert makes of it.
    Embed: int
    Mlp: int
    Precision: string
    Device: Device
}

/// What the plans read and write. A token has a row for each of its experts.
let private tensors (sizes: Sizes) =
    let experts, embed, mlp = Extent.Of sizes.Experts, Extent.Of sizes.Embed, Extent.Of sizes.Mlp
    let tokens, rows = Extent.Of sizes.Tokens, Extent.Of sizes.Tokens * Extent.Of sizes.Chosen
    let matrix = embed * mlp

    let weight = Precision.storageType sizes.Precision

    // The processor computes in float32 whatever the weights' type.
    let activation = if sizes.Device = Device.Cuda then weight else ScalarType.F32

    [
        "tokens", activation, tokens * embed
        "rows", activation, rows * embed
        "weights", weight, experts * matrix
        "output", activation, rows * mlp
        "gradient", activation, rows * mlp
        "rows' gradient", activation, rows * embed
        "weights' gradient", ScalarType.F32, experts * matrix
        "index", ScalarType.I32, rows
        "offsets", ScalarType.I32, experts + Extent.One
        "order", ScalarType.I32, rows
    ]

let private plan (sizes: Sizes) steps =
    let buffers = [|
        for id, (name, kind, elements) in List.indexed (tensors sizes) ->
            PlanBuffer(id, name, BufferClass.Parameter, kind, [| PlanAxis("Element", elements) |], -1L, 0, 1)
    |]

    Plan("a mixture's products", Purpose.Forward, sizes.Precision, [||], buffers, [||], [||], List.toArray steps, 0L)

let private flops (sizes: Sizes) = 2.0 * float sizes.Chosen * float sizes.Embed * float sizes.Mlp

/// Dispatch, the product forward, and those backward.
let private grouped (sizes: Sizes) =
    let view name = BufferView.Whole(tensors sizes |> List.findIndex (fun (n, _, _) -> n = name))

    let rows, embed, mlp =
        int64 sizes.Tokens * int64 sizes.Chosen |> Extent.Of, Extent.Of sizes.Embed, Extent.Of sizes.Mlp

    let groups = RowGroups(rows, sizes.Experts, view "offsets", view "order")
    let tokens = GroupedMatrix(view "tokens", embed, int64 sizes.Chosen)
    let gradient = GroupedMatrix(view "gradient", mlp, 1L)
    let matrix = embed * mlp

    let product name n k left right output =
        Step.GroupedProduct(name, Cost.Zero, groups, n, k, left, right, matrix, output, null, [||]) :> Step

    Step.Dispatch("dispatch", Cost.Zero, groups, view "index") :> Step,
    product
        "forward"
        mlp
        embed
        tokens
        (Matrix(view "weights", mlp, Extent.One))
        (Matrix(view "output", mlp, Extent.One)),
    [
        product
            "backward"
            embed
            mlp
            gradient
            (Matrix(view "weights", Extent.One, mlp))
            (Matrix(view "rows' gradient", embed, Extent.One))
        Step.GroupedGradient(
            "weights' gradient",
            Cost.Zero,
            groups,
            embed,
            mlp,
            tokens,
            gradient,
            Matrix(view "weights' gradient", mlp, Extent.One),
            matrix
        )
    ]

/// The same number of rows, all by the first expert: forward, and backward.
let private dense (sizes: Sizes) =
    let view name = BufferView.Whole(tensors sizes |> List.findIndex (fun (n, _, _) -> n = name))

    let rows, embed, mlp =
        int64 sizes.Tokens * int64 sizes.Chosen |> Extent.Of, Extent.Of sizes.Embed, Extent.Of sizes.Mlp

    let product name m n k left right output =
        Step.MatrixProduct(name, Cost.Zero, m, n, k, left, right, output, false, [||], null, [||]) :> Step

    let matrix name columns = Matrix(view name, columns, Extent.One)
    let transposed name rows = Matrix(view name, Extent.One, rows)

    product "forward" rows mlp embed (matrix "rows" embed) (matrix "weights" mlp) (matrix "output" mlp),
    [
        product
            "backward"
            rows
            embed
            mlp
            (matrix "gradient" mlp)
            (transposed "weights" mlp)
            (matrix "rows' gradient" embed)
        product
            "weights' gradient"
            embed
            mlp
            rows
            (transposed "rows" embed)
            (matrix "gradient" mlp)
            (matrix "weights' gradient" mlp)
    ]

/// Different experts for each token.
let private index (random: Random) (sizes: Sizes) =
    let experts = Array.init sizes.Experts id

    [|
        for _ in 1 .. sizes.Tokens do
            random.Shuffle experts
            yield! Array.truncate sizes.Chosen experts
    |]

/// Products of one gathering, to tell what the product alone takes.
let private repeated = 8

/// What is measured: its name, how many products of the mixture's size it is, and its steps.
let private subjects (sizes: Sizes) = [
    let forward, backward = dense sizes
    "dense forward", 1, [ forward ]
    "dense forward and backward", 3, forward :: backward

    let dispatch, forward, backward = grouped sizes
    "grouped forward", 1, [ dispatch; forward ]

    // A GPU gathers rows before wide products, which then share them.
    if sizes.Device = Device.Cuda then
        $"grouped forward, {repeated} products of one dispatch", repeated, dispatch :: List.replicate repeated forward

    "grouped forward and backward", 3, dispatch :: forward :: backward
]

/// How an executable computes each of its steps that it chose a way for.
let private ways (executable: IExecutable) =
    match executable with
    | :? IStepWays as chosen -> [ for way in chosen.StepWays -> way.Step, way.Way ]
    | _ -> []

/// The limits, figures forward and for both ways, dense and grouped, and how each dense product is computed, where that was chosen.
let measure threads rounds (sizes: Sizes) =
    use device = DeviceChoice.openDevice sizes.Device threads true
    use memory = new ModelMemory(device)
    let random = Random 1

    let plans = [ for name, products, steps in subjects sizes -> name, products, plan sizes steps ]
    MemoryNeed.requireRoom device [ for _, _, plan in plans -> plan ]
    let subjects = [ for name, products, plan in plans -> name, products, memory.Compile plan ]

    for name, kind, _ in tensors sizes do
        if kind <> ScalarType.I32 then
            RandomNumbers.fill (RandomNumbers.uniform random) kind (memory.Parameter name).Memory

    (memory.Parameter "index").Memory.Write(0L, MemoryMarshal.AsBytes(ReadOnlySpan(index random sizes)))

    let subject (name, products, executable: IExecutable) : Rounds.Subject = {
        Name = name
        Unit = "tokens"
        Units = float sizes.Tokens
        Bound = Rounds.Bound.Arithmetic(float products * flops sizes)
        Run = [ executable.Run ]
    }

    try
        let measured = List.map subject subjects

        let limits, figures =
            match device with
            | :? CudaDevice as gpu ->
                Rounds.measureUnder (GpuLimits.ofDevice gpu.Information sizes.Precision) rounds measured
            | _ -> Rounds.measure threads rounds measured

        limits, figures, subjects |> List.collect (fun (_, _, executable) -> ways executable) |> List.distinctBy fst
    finally
        for _, _, executable in subjects do
            executable.Dispose()
