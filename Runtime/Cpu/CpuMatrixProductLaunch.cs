using Legato.Runtime.Plans;

namespace Legato.Runtime.Cpu;

/// <summary>A matrix product, or one for each index of its batch loops; the innermost loop is one call.</summary>
internal sealed class CpuMatrixProductLaunch : CpuLaunch
{
    private readonly CpuView left, right, output;
    private readonly Operand leftStrides, rightStrides, outputStrides;
    private readonly CpuExtent m, n, k;
    private readonly Batch[] batch;
    private readonly CpuKernelCall? epilogue;
    private readonly MatrixProductEpilogue? finish;
    private readonly bool accumulate;
    private readonly CpuScratch scratch;
    private readonly int workers;
    private MatrixProductArgs[] calls = [];
    private int callCount;
    private bool usesAllScratch;

    public CpuMatrixProductLaunch(Step.MatrixProduct step, CpuLowering lowering)
        : base(step.Name, step.Cost, lowering)
    {
        // The product writes rows: one that is stored by columns is computed as its transpose, Cᵀ = Bᵀ · Aᵀ.
        bool transposed = !step.Output.ColumnStride.Equals(Extent.One) && step.Output.RowStride.Equals(Extent.One);
        if (transposed && step.Epilogue is not null)
            throw new InvalidOperationException($"{step.Name} has an epilogue and an output stored by columns");
        (Matrix a, Matrix b, Matrix c) = transposed
            ? (Transpose(step.Right), Transpose(step.Left), Transpose(step.Output))
            : (step.Left, step.Right, step.Output);
        (left, right, output) = (lowering.View(a.View), lowering.View(b.View), lowering.View(c.View));
        if (output.Type != ScalarType.F32 || !c.ColumnStride.Equals(Extent.One))
            throw new InvalidOperationException($"{step.Name} writes {output.Type} {output.Name}; it must be F32 and contiguous");
        (leftStrides, rightStrides, outputStrides) = (new(a, lowering), new(b, lowering), new(c, lowering));
        (m, n, k) = (lowering.Extent(transposed ? step.N : step.M), lowering.Extent(transposed ? step.M : step.N), lowering.Extent(step.K));
        batch = [.. step.Batch.Select(loop => new Batch(loop, transposed, lowering))];
        accumulate = step.Accumulate;
        scratch = lowering.ProductScratch;
        workers = lowering.Device.Threads;
        if (step.Epilogue is { } kernel)
        {
            epilogue = new CpuKernelCall(kernel, [output, .. lowering.Views(step.EpilogueOperands)], lowering);
            finish = (_, m0, m1, n0, n1) => epilogue.RunBlock(m0, m1, n0, n1);
        }
    }

    public override bool IsProduct => true;

    public override bool CountsUnits => SuitsRun;

    public override void Bind(ReadOnlySpan<long> dimensions)
    {
        base.Bind(dimensions);
        epilogue?.Bind(dimensions);
        callCount = 1;
        for (int i = 0; i < batch.Length - 1; i++)
            callCount *= batch[i].Count.Size(dimensions);
        if (calls.Length < callCount)
            calls = new MatrixProductArgs[callCount];
        for (int i = 0; i < callCount; i++)
            calls[i] = Call(i, dimensions);
        if (callCount == 0)
            return;
        usesAllScratch = MatrixProduct.SharesScratch(calls[0], workers);
        scratch.Reserve(MatrixProduct.ScratchBytes(calls[0], workers));
    }

    public override void Access(List<CpuAccess> accesses)
    {
        Read(accesses, left);
        Read(accesses, right);
        Write(accesses, output);
        epilogue?.Access(accesses, alone: false);
        accesses.Add(CpuLowering.ProductScratchAccess(usesAllScratch));
    }

    /// <summary>Whether the step is one call, which may be a member of a run.</summary>
    public bool SuitsRun => callCount == 1 && MatrixProductSkinny.SuitsRun(calls[0], workers);

    private MatrixProductSkinnyRun SkinnyRun => new(calls.AsSpan(0, 1), [1]);

    /// <summary>The first call, without its scratch.</summary>
    public MatrixProductArgs Args => calls[0];

    public override void Run(Worker worker)
    {
        if (SuitsRun)
        {
            SkinnyRun.Run(worker, scratch.Address, scratch.Bytes, WeightsOf(worker), FirstWeights);
            return;
        }
        for (int i = 0; i < callCount; i++)
        {
            if (i > 0)
                worker.Barrier();
            MatrixProduct.Run(worker, calls[i] with { Scratch = scratch.Address, ScratchBytes = scratch.Bytes });
        }
    }

    public override bool ComputeLeft(Worker worker) => SuitsRun && SkinnyRun.ComputeLeft(worker, scratch.Address, scratch.Bytes);

    public override bool ComputeInHand(Worker worker) => SuitsRun && SkinnyRun.ComputeInHand(worker);

    public override void AddWeights(int worker, OwnWeights weights)
    {
        if (SuitsRun)
            SkinnyRun.AddWeights(worker, workers, weights);
    }

    private MatrixProductArgs Call(int index, ReadOnlySpan<long> dimensions)
    {
        long a = 0, b = 0, c = 0;
        for (int i = batch.Length - 2; i >= 0; i--)
        {
            int count = batch[i].Count.Size(dimensions);
            (index, int at) = Math.DivRem(index, count);
            a += at * batch[i].Left.Evaluate(dimensions);
            b += at * batch[i].Right.Evaluate(dimensions);
            c += at * batch[i].Output.Evaluate(dimensions);
        }
        Batch? inner = batch.Length > 0 ? batch[^1] : null;
        return new MatrixProductArgs
        {
            M = m.Size(dimensions),
            N = n.Size(dimensions),
            K = k.Size(dimensions),
            A = left.Address(dimensions) + (nint)(a * left.Type.Size()),
            AElement = Element(left),
            ARowStride = leftStrides.Row.Evaluate(dimensions),
            AColumnStride = leftStrides.Column.Evaluate(dimensions),
            B = right.Address(dimensions) + (nint)(b * right.Type.Size()),
            BElement = Element(right),
            BInPanels = right.InPanels,
            BRowStride = rightStrides.Row.Evaluate(dimensions),
            BColumnStride = rightStrides.Column.Evaluate(dimensions),
            C = output.Address(dimensions) + (nint)(c * sizeof(float)),
            CRowStride = outputStrides.Row.Evaluate(dimensions),
            Accumulate = accumulate,
            Epilogue = finish,
            Batch = inner?.Count.Size(dimensions) ?? 1,
            ABatchStride = inner?.Left.Evaluate(dimensions) ?? 0,
            BBatchStride = inner?.Right.Evaluate(dimensions) ?? 0,
            CBatchStride = inner?.Output.Evaluate(dimensions) ?? 0,
        };
    }

    internal static MatrixElement Element(CpuView view) => view.Type switch
    {
        ScalarType.F32 => MatrixElement.Float32,
        ScalarType.BF16 => MatrixElement.BFloat16,
        ScalarType.F16 => MatrixElement.Float16,
        _ => throw new InvalidOperationException($"{view.Name} is no matrix of floats"),
    };

    private static Matrix Transpose(Matrix matrix) => new(matrix.View, matrix.ColumnStride, matrix.RowStride);

    private readonly struct Operand(Matrix matrix, CpuLowering lowering)
    {
        public readonly CpuExtent Row = lowering.Extent(matrix.RowStride), Column = lowering.Extent(matrix.ColumnStride);
    }

    private sealed class Batch(BatchLoop loop, bool transposed, CpuLowering lowering)
    {
        public readonly CpuExtent Count = lowering.Extent(loop.Count);
        public readonly CpuExtent Left = lowering.Extent(transposed ? loop.RightStride : loop.LeftStride);
        public readonly CpuExtent Right = lowering.Extent(transposed ? loop.LeftStride : loop.RightStride);
        public readonly CpuExtent Output = lowering.Extent(loop.OutputStride);
    }
}
