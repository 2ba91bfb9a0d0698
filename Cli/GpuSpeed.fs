/// What a GPU reaches at each kind of work that predictions tell apart: measured once, kept beside its kernels for the card and
/// its driver.
module Legato.Cli.GpuSpeed

open System
open System.Diagnostics
open System.Text.Json
open Legato.Compiler
open Legato.Runtime.Checkpoints
open Legato.Runtime.Cuda
open Legato.Runtime.Devices
open Legato.Runtime.Plans

let private elementOf precision =
    match precision with
    | "bf16" -> ScalarType.BF16
    | "fp16" -> ScalarType.F16
    | _ -> ScalarType.F32

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
let private leastSeconds = 0.02

let private rounds = 3

/// Seconds of a run among others: the least of a few rounds.
let private seconds (device: IDevice) element plan =
    use memory = new ModelMemory(device)
    use executable: IExecutable = memory.Compile plan
    plan.Buffers |> Seq.iter (fun b -> BenchAttention.fill element (memory.Parameter b.Name).Memory)

    let time runs =
        let watch = Stopwatch.StartNew()

        for _ in 2..runs do
            executable.Queue()

        executable.Run()
        watch.Elapsed.TotalSeconds / float runs

    // The first loads code, the second is captured.
    time 2 |> ignore
    let runs = max 2 (int (leastSeconds / time 1))
    List.init rounds (fun _ -> time runs) |> List.min

/// Square products, from those that leave multiprocessors idle up to what the power limit bounds.
let private products device precision =
    let element = elementOf precision

    let point size =
        let matrices = [ for name in [ "left"; "right"; "output" ] -> name, (size, size) ]
        let count = int (max 1L (8192L / size))

        let steps view = List.replicate count (product view size size size ("left", "right", "output"))
        let taken = seconds device element (plan Purpose.Train precision element matrices steps) / float count
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
    let element = elementOf precision

    let matrices =
        [ "even", (rows, size); "odd", (rows, size) ] @ [ for i in 1..count -> $"right{i}", (size, size) ]

    let steps view = [
        for i in 1..count ->
            let names = if i % 2 = 1 then "even", $"right{i}", "odd" else "odd", $"right{i}", "even"
            product view rows size size names
    ]

    let taken = seconds device element (plan Purpose.Decode precision element matrices steps)
    taken / float count, float (size * size * int64 (element.Size()))

/// What two sizes tell apart: seconds of a launch, and bytes a second.
let private reading device precision rows =
    let few, fewBytes = chained device precision rows 2048L 24
    let many, manyBytes = chained device precision rows 8192L 4
    let perSecond = (manyBytes - fewBytes) / (many - few)
    max 0.0 (few - fewBytes / perSecond), perSecond

/// A copy: what kernels that go through tensors once come near to.
let private bandwidth device precision =
    let element = elementOf precision
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
    bytes / seconds device element (plan Purpose.Train precision element matrices steps)

/// Causal attention of short and of long rows; operations counted as plans count them: half of all pairs.
let private attention device precision =
    let element = elementOf precision

    let speed (headSize: int64) =
        let point factor step positions =
            let shape: BenchAttention.Shape = {
                HeadSize = headSize
                Positions = positions
                Batch = max 1L (4096L / positions)
                Heads = 16L
            }

            let work = factor * 2.0 * float (shape.Batch * shape.Heads * positions * positions * headSize)

            {
                Work = float positions
                PerSecond = work / seconds device element (BenchAttention.plan element shape "attention" (step shape))
            }

        let curve factor step = [ 1024L; 8192L ] |> List.map (point factor step)

        {
            HeadSize = headSize
            Forward = curve 1.0 BenchAttention.forward
            Backward = curve 2.5 BenchAttention.backward
        }

    [ 64L; 128L ] |> List.map speed

let private key (gpu: CudaGpu) precision = $"speed, 1st form\n{gpu.Name}\n{CudaMachine.DriverVersion()}\n{precision}"

/// Measures, and keeps what was found. `kernels`: float32 operations a second, by the card's data sheet.
let measure (device: CudaDevice) precision kernels : DeviceSpeed =
    let launch, perSecond = reading device precision 1L
    let _, perSecondOfMany = reading device precision 16L

    let speed = {
        Products = products device precision
        ProductBytes = [ { Work = 1.0; PerSecond = perSecond }; { Work = 16.0; PerSecond = perSecondOfMany } ]
        Attention = attention device precision
        Kernels = kernels
        Bandwidth = bandwidth device precision
        LaunchSeconds = launch
    }

    CubinCache.Keep(key device.Information precision, JsonSerializer.SerializeToUtf8Bytes speed)
    speed

/// What was measured before on such a card with this driver.
let kept (gpu: CudaGpu) precision : DeviceSpeed option =
    match CubinCache.Find(key gpu precision) with
    | null -> None
    | bytes -> Some(JsonSerializer.Deserialize<DeviceSpeed>(ReadOnlySpan bytes))

/// Memory that a measurement takes, and some.
let private room = 2L <<< 30

/// What is kept, or measured now; None where other things leave no room to measure.
let ofDevice (device: CudaDevice) precision kernels : DeviceSpeed option =
    match kept device.Information precision with
    | Some speed -> Some speed
    | None when device.BytesFree >= room -> Some(measure device precision kernels)
    | None -> None

/// A speed as `legato bench` shows it, with the share of what the card does at most by its data sheet.
let figures precision (limits: Rounds.Limits) (speed: DeviceSpeed) : Rounds.Figure list =
    let known (value: float) : Rounds.Spread = { Median = value; Best = value }

    let figure name unit perSecond (limit: Rounds.Spread option) : Rounds.Figure = {
        Name = $"{name}, {precision}"
        Unit = unit
        PerSecond = known perSecond
        WorkUnit = ""
        Work = None
        Share = limit |> Option.map (fun limit -> known (perSecond / limit.Median))
    }

    [
        for point in speed.Products do
            figure $"product of {round (Math.Cbrt(point.Work / 2.0))}³" "FLOP" point.PerSecond (Some limits.Flops)
        for point in speed.ProductBytes do
            figure $"product of few rows, {point.Work}" "B" point.PerSecond (Some limits.Read)
        for known in speed.Attention do
            for way, curve in [ "forward", known.Forward; "backward", known.Backward ] do
                for point in curve do
                    figure
                        $"attention {way}, head {known.HeadSize}, {point.Work} keys"
                        "FLOP"
                        point.PerSecond
                        (Some limits.Flops)
        figure "copy" "B" speed.Bandwidth (Some limits.Read)
        figure "launches" "" (1.0 / speed.LaunchSeconds) None
    ]
