/// `legato bench gemm`: the matrix product of every layout that training asks for.
module Legato.Cli.BenchProduct

open System
open System.Runtime.InteropServices
open Legato.Runtime.Checkpoints
open Legato.Runtime.Cpu
open Legato.Runtime.Plans

let private operands = [ "left"; "right"; "output" ]

/// A plan of one product of square matrices, either operand of which may lie transposed in memory.
let private plan (size: int64) isLeftTransposed isRightTransposed =
    let n = Extent.Of size
    let axes: PlanAxis[] = [| PlanAxis("Row", n); PlanAxis("Column", n) |]

    let buffers = [|
        for id, name in List.indexed operands ->
            PlanBuffer(id, name, BufferClass.Parameter, ScalarType.F32, axes, -1L, 0, 1)
    |]

    let matrix id isTransposed =
        let row, column = if isTransposed then Extent.One, n else n, Extent.One
        Matrix(BufferView.Whole id, row, column)

    let cost = Cost(Extent.Of 2L * n * n * n, Extent.Of 12L * n * n)

    let product =
        Step.MatrixProduct(
            "product",
            cost,
            n,
            n,
            n,
            matrix 0 isLeftTransposed,
            matrix 1 isRightTransposed,
            matrix 2 false,
            false,
            [||],
            null,
            [||]
        )

    Plan("a matrix product", Purpose.Forward, "fp32", [||], buffers, [||], [||], [| product |], 0L)

let private fill (memory: ModelMemory) (size: int) =
    let random = Random 1
    let row = Array.zeroCreate<float32> size

    for name in operands do
        let target = (memory.Parameter name).Memory

        for i in 0 .. size - 1 do
            for j in 0 .. size - 1 do
                row[j] <- random.NextSingle() - 0.5f

            target.Write(int64 i * int64 size * 4L, MemoryMarshal.AsBytes(ReadOnlySpan row))

let private layouts = [ "A·B", false, false; "A·Bᵀ", false, true; "Aᵀ·B", true, false; "Aᵀ·Bᵀ", true, true ]

/// The limits and a figure a layout, by workers of one device.
let measure (threads: int option) (rounds: int) (size: int) =
    use device = new CpuDevice(CpuDeviceOptions(Option.toNullable threads))
    use memory = new ModelMemory(device)

    let plans = [ for name, left, right in layouts -> name, plan (int64 size) left right ]
    plans |> List.map snd |> MemoryNeed.requireRoom device
    let executables = [ for name, plan in plans -> name, memory.Compile plan ]

    fill memory size

    let subject (name, executable: Legato.Runtime.Devices.IExecutable) : Rounds.Subject = {
        Name = name
        Unit = "products"
        Units = 1.0
        Bound = Rounds.Bound.Arithmetic(2.0 * float size ** 3.0)
        Run = [ executable.Run ]
    }

    try
        executables |> List.map subject |> Rounds.measure threads rounds
    finally
        for _, executable in executables do
            executable.Dispose()
