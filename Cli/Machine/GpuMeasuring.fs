/// Measures each kind of work that predictions tell apart on a GPU, by plans of that work alone.
module Legato.Cli.GpuMeasuring

open System.Diagnostics
open Legato.Compiler
open Legato.Runtime.Checkpoints
open Legato.Runtime.Devices
open Legato.Runtime.Plans

/// A plan over matrices that lie row by row, each by its name.
let private plan purpose precision element (matrices: (string * (int64 * int64)) list) steps =
    let buffer id (name, (rows: int64, columns: int64)) =
        let axes = [| PlanAxis("Row", Extent.Of rows); PlanAxis("Column", Extent.Of columns) |]
        PlanBuffer(id, name, BufferClass.Parameter, element, axes, -1L, 0, 1)

    let buffers = matrices |> List.mapi buffer |> Array.ofList
    let view name = BufferView.Whole (buffers |> Array.find (fun b -> b.Name = name)).Id
    Plan("what a GPU reaches", purpose, precision, [||], buffers, [||], [||], Array.ofList (steps view), 0L)

/// output = left · rightᵀ.
let private product
    (view: string -> BufferView)
    (rows: int64)
    (columns: int64)
    (depth: int64)
    (left, right, output)
    : Step =
    let matrix name (row: Extent) column = Matrix(view name, row, column)

    Step.MatrixProduct(
        "product",
        Cost.Zero,
        Extent.Of rows,
        Extent.Of columns,
        Extent.Of depth,
        matrix left (Extent.Of depth) Extent.One,
        matrix right Extent.One (Extent.Of depth),
        matrix output (Extent.Of columns) Extent.One,
        false,
        [||],
        null,
        [||]
    )

/// Runs in a row last so long.
let private enough = 0.03

/// The same for products: what draws most power slows the card down after a tenth of a second.
let private enoughForProducts = 0.15

/// Seconds of a run among others, after as many that aren't counted.
let private seconds (device: IDevice) element least (plan: Plan) =
    use memory = new ModelMemory(device)
    use executable: IExecutable = memory.Compile plan

    for buffer in plan.Buffers do
        if buffer.Type = element then
            RandomNumbers.fill BenchAttention.numbers.Value element (memory.Parameter buffer.Name).Memory

    let time runs =
        let watch = Stopwatch.StartNew()

        for _ in 2..runs do
            executable.Queue()

        executable.Run()
        watch.Elapsed.TotalSeconds / float runs

    // The first loads code, the second is captured.
    time 2 |> ignore
    let runs = max 2 (int (least / time 1))
    time runs |> ignore
    time runs

/// Square products, from those that leave multiprocessors idle up to what the power limit bounds.
let products device precision =
    let element = Precision.storageType precision

    let point size =
        let matrices = [ for name in [ "left"; "right"; "output" ] -> name, (size, size) ]
        let count = int (max 1L (8192L / size))

        let steps view = List.replicate count (product view size size size ("left", "right", "output"))

        let taken =
            seconds device element enoughForProducts (plan Purpose.Train precision element matrices steps)
            / float count

        let work = 2.0 * float size ** 3.0
        { Work = work; PerSecond = work / taken }

    [
        1024L
        2048L
        4096L
        if precision <> "fp32" then
            8192L
    ]
    |> List.map point

/// Products of few rows in a row, as in decoding: seconds of one, and bytes of its right operand.
let private chained device precision rows size count =
    let element = Precision.storageType precision

    let matrices =
        [ "even", (rows, size); "odd", (rows, size) ] @ [ for i in 1..count -> $"right{i}", (size, size) ]

    let steps view = [
        for i in 1..count ->
            let names = if i % 2 = 1 then "even", $"right{i}", "odd" else "odd", $"right{i}", "even"
            product view rows size size names
    ]

    let taken = seconds device element enough (plan Purpose.Decode precision element matrices steps)
    taken / float count, float (size * size * int64 (element.Size()))

/// What two sizes tell apart: seconds of a launch, and bytes a second.
let reading device precision rows =
    let few, fewBytes = chained device precision rows 2048L 24
    let many, manyBytes = chained device precision rows 8192L 4
    let perSecond = (manyBytes - fewBytes) / (many - few)
    max 0.0 (few - fewBytes / perSecond), perSecond

/// A copy: what kernels that go through tensors once come near to.
let bandwidth device precision =
    let element = Precision.storageType precision
    let rows, columns = 16384L, 4096L

    let at =
        Index(IndexTerm(Expr.Variable "i", Extent.Of columns), IndexTerm(Expr.Variable "j", Extent.One))

    let copied = Statement.Store(1, at, Expr.Load(0, at))

    let loop kind variable (upTo: int64) body : Statement =
        Statement.Loop(kind, variable, Expr.Integer 0L, Expr.Integer upTo, [| body |])

    let body = loop LoopKind.Grid "i" rows (loop LoopKind.Vector "j" columns copied)

    let kernel =
        Kernel(
            "copy",
            [| KernelOperand("in", element, Access.Read); KernelOperand("out", element, Access.Write) |],
            [||],
            [| body |]
        )

    let steps (view: string -> BufferView) : Step list = [
        Step.Fused("copy", Cost.Zero, kernel, [| view "in"; view "out" |])
    ]

    let matrices = [ "in", (rows, columns); "out", (rows, columns) ]
    let bytes = float (2L * rows * columns * int64 (element.Size()))
    bytes / seconds device element enough (plan Purpose.Train precision element matrices steps)

/// Causal attention of short and of long rows; operations counted as plans count them: half of all pairs.
let attention device precision =
    let element = Precision.storageType precision

    let shape headSize positions : BenchAttention.Shape = {
        HeadSize = headSize
        Positions = positions
        Batch = 16384L / positions
        Heads = 16L
    }

    let plan shape step = BenchAttention.plan element shape "attention" (step shape)
    let sizes, lengths = [ 64L; 128L ], [ 1024L; 8192L ]

    // Compiled beside each other first.
    [
        for size in sizes do
            plan (shape size 1024L) BenchAttention.forward
            plan (shape size 1024L) BenchAttention.backward
    ]
    |> Array.ofList
    |> Array.Parallel.iter (fun plan ->
        use memory = new ModelMemory(device)
        use _ = memory.Compile plan
        ())

    let curve size factor step = [
        for positions in lengths do
            let shape = shape size positions
            let work = factor * 2.0 * float (shape.Batch * shape.Heads * positions * positions * size)

            {
                Work = float positions
                PerSecond = work / seconds device element enough (plan shape step)
            }
    ]

    [
        for size in sizes ->
            {
                HeadSize = size
                Forward = curve size 1.0 BenchAttention.forward
                Backward = curve size 2.5 BenchAttention.backward
            }
    ]

/// Attention of one query a row over 512 keys, of one row and of sixteen, each time over others, as from layer to layer.
let caches device precision launch =
    let element = Precision.storageType precision
    let heads, keyHeads, size, keys, count = 32L, 8L, 128L, 512L, 8

    let point batch =
        let headed view rows heads =
            HeadTensor(view, Extent.Of(rows * heads * size), Extent.Of(heads * size), Extent.Of size)

        let shape =
            AttentionShape(
                Extent.Of batch,
                Extent.Of heads,
                Extent.Of keyHeads,
                Extent.One,
                Extent.Of keys,
                Extent.Of size,
                Extent.Of size,
                1.0 / sqrt (float size),
                null,
                null
            )

        let matrices =
            [ "query", (batch, heads * size); "output", (batch, heads * size) ]
            @ [
                for i in 1..count do
                    $"key{i}", (batch * keys, keyHeads * size)
                    $"value{i}", (batch * keys, keyHeads * size)
            ]

        let steps (view: string -> BufferView) : Step list = [
            for i in 1..count ->
                Step.Attention(
                    "attention",
                    Cost.Zero,
                    shape,
                    headed (view "query") 1L heads,
                    headed (view $"key{i}") keys keyHeads,
                    headed (view $"value{i}") keys keyHeads,
                    headed (view "output") 1L heads,
                    null,
                    null,
                    [||]
                )
        ]

        let bytes = float (2L * batch * keys * keyHeads * size * int64 (element.Size()))

        let taken =
            seconds device element enough (plan Purpose.Decode precision element matrices steps) / float count

        { Work = bytes; PerSecond = bytes / max 1e-7 (taken - launch) }

    [ point 1L; point 16L ]
