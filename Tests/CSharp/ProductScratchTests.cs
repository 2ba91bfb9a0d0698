using System.Runtime.InteropServices;
using Legato.Runtime.Cpu;
using NUnit.Framework;

namespace Legato.Tests;

/// <summary>
/// Steps that don't depend on each other follow without a barrier, so that one worker may be at the next while another is still
/// at the one before: whatever the steps need, a worker writes to its own part of the scratch alone.
/// </summary>
[TestFixture]
public unsafe class ProductScratchTests
{
    private const int Workers = 2, Groups = 2, Rows = 20, N = 256, K = 33;

    private static readonly long Bytes = Workers * new[]
    {
        MatrixProduct.ScratchBytes(Product(3, default, default), 1), MatrixProduct.ScratchBytes(Product(Rows, default, default), 1),
        GroupedProduct.ScratchBytes, GroupedGradient.ScratchBytes,
    }.Max();

    [Test]
    public void AWorkerWritesItsOwnPartAlone(
        [Values("skinny product", "product", "skinny products in a run", "grouped product", "grouped gradient")] string step, [Values(0, 1)] int index)
    {
        void* scratch = NativeMemory.AlignedAlloc((nuint)Bytes, 64);
        int* rows = stackalloc int[Groups + 1 + Rows];
        float* values = (float*)NativeMemory.AllocZeroed(2 * Rows * N + Groups * K * N, sizeof(float));
        try
        {
            new Span<byte>(scratch, (int)Bytes).Fill(0xFF);
            (rows[0], rows[1], rows[2]) = (0, Rows / 2, Rows);
            for (int row = 0; row < Rows; row++) rows[Groups + 1 + row] = row;
            Action<Worker> run = Run(step, new GroupedRows(Rows, Groups, rows, rows + Groups + 1), (nint)values, (nint)scratch);
            using var team = new Team(new TeamOptions(Workers, Pin: false));
            team.Run(worker =>
            {
                if (worker.Index == index) run(worker);
            });
            var written = new bool[Workers];
            for (int i = 0; i < Bytes; i++) written[i / (Bytes / Workers)] |= ((byte*)scratch)[i] != 0xFF;
            Assert.That(written, Is.EqualTo(Enumerable.Range(0, Workers).Select(i => i == index)));
        }
        finally
        {
            NativeMemory.AlignedFree(scratch);
            NativeMemory.Free(values);
        }
    }

    private static Action<Worker> Run(string step, GroupedRows rows, nint values, nint scratch)
    {
        var left = new GroupedOperand(values, K, 1);
        nint output = values + Rows * N * sizeof(float), right = output + Rows * N * sizeof(float);
        MatrixProductArgs few = Product(3, values, scratch), more = Product(Rows, values, scratch);
        var product = new GroupedProductArgs
        {
            Rows = rows,
            N = N,
            K = K,
            Left = left,
            Right = right,
            RightElement = MatrixElement.Float32,
            RightGroupStride = K * N,
            RightRowStride = N,
            RightColumnStride = 1,
            Output = output,
            OutputStride = N,
            Scratch = scratch,
            ScratchBytes = Bytes,
        };
        var gradient = new GroupedGradientArgs
        {
            Rows = rows,
            M = K,
            N = N,
            Left = left,
            Right = new GroupedOperand(output, N, 1),
            Output = right,
            OutputGroupStride = K * N,
            OutputRowStride = N,
            Scratch = scratch,
            ScratchBytes = Bytes,
        };
        var progress = new StepProgress(Workers, members: 2);
        return step switch
        {
            "skinny product" => worker => MatrixProduct.Run(worker, few),
            "product" => worker => MatrixProduct.Run(worker, more),
            "skinny products in a run" => worker =>
            {
                worker.Enter(progress, 1);
                new MatrixProductSkinnyRun([few, few], [1, 1]).Run(worker, scratch, Bytes, null, 0);
            }
            ,
            "grouped product" => worker => GroupedProduct.Run(worker, product),
            "grouped gradient" => worker => GroupedGradient.Run(worker, gradient),
            _ => throw new ArgumentOutOfRangeException(nameof(step), step, "no known step"),
        };
    }

    private static MatrixProductArgs Product(int rows, nint values, nint scratch) => new()
    {
        M = rows,
        N = N,
        K = K,
        A = values,
        ARowStride = K,
        AColumnStride = 1,
        B = values + 2 * Rows * N * sizeof(float),
        BRowStride = N,
        BColumnStride = 1,
        C = values + Rows * N * sizeof(float),
        CRowStride = N,
        Scratch = scratch,
        ScratchBytes = scratch == 0 ? 0 : Bytes,
    };
}
