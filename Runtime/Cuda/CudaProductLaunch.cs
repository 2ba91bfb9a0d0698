using Legato.Runtime.Cpu;
using Legato.Runtime.Plans;

namespace Legato.Runtime.Cuda;

/// <summary>
/// A matrix product, or one for each index of its batch loops: by cuBLASLt or a kernel of our own for Hopper where they take
/// the types and layouts, else by a kernel that takes all.
/// </summary>
internal sealed class CudaProductLaunch : CudaLaunch
{
    private readonly CudaView left, right, output;
    private readonly Strides leftStrides, rightStrides, outputStrides;
    private readonly CpuExtent m, n, k;
    private readonly BatchStrides[] batch;
    private readonly bool accumulate, byTf32;
    private readonly ProductEnd? end;
    private readonly CudaLowering lowering;
    private readonly List<Call> calls = [];
    private readonly CudaOwnProduct? own;
    private CudaProduct? product;
    private ProductShape shape;
    private ProductChoice? choice;
    private nint? added;
    private CudaPortableProduct? portable;

    public CudaProductLaunch(Step.MatrixProduct step, CudaView left, CudaView right, CudaView output, CudaLowering lowering)
        : this(step, left, right, output, null, lowering)
    {
    }

    public CudaProductLaunch(Step.MatrixProduct step, CudaView left, CudaView right, CudaView output, ProductEnd? end, CudaLowering lowering)
        : base(step.Name, step.Cost, lowering)
    {
        this.end = end;
        // cuBLASLt writes columns, and rows that lie together are the columns of the transpose: Cᵀ = Bᵀ · Aᵀ.
        bool byColumns = !step.Output.ColumnStride.Equals(Extent.One) && step.Output.RowStride.Equals(Extent.One);
        (this.left, this.right, this.output) = byColumns ? (right, left, output) : (left, right, output);
        (Matrix a, Matrix b, Matrix c) = byColumns
            ? (Transpose(step.Right), Transpose(step.Left), Transpose(step.Output))
            : (step.Left, step.Right, step.Output);
        (leftStrides, rightStrides, outputStrides) = (new(a, lowering), new(b, lowering), new(c, lowering));
        (m, n, k) = (lowering.Extent(byColumns ? step.N : step.M), lowering.Extent(byColumns ? step.M : step.N), lowering.Extent(step.K));
        batch = [.. step.Batch.Select(loop => new BatchStrides(loop, byColumns, lowering))];
        accumulate = step.Accumulate;
        byTf32 = lowering.Resources.Plan.Precision == "tf32";
        this.lowering = lowering;
        own = CudaOwnProduct.Of(a, b, this.left.Type, this.right.Type, output.Type, accumulate, end, Name, lowering);
        lowering.Products.Add(this);
    }

    /// <summary>Whether a kernel of our own may compute it, which takes odd sizes as they are.</summary>
    public bool TakesOddSizes => own is not null;

    /// <summary>That it took when it was measured; not a number where it wasn't, as of a kernel that takes all.</summary>
    public double Seconds => choice?.Seconds ?? double.NaN;

    public override string? Way => choice is not { } taken ? null : taken.Library is { } algorithm ? CublasLt.Describe(algorithm) : "a kernel of our own";

    /// <summary>The shape and the places that it was bound to; null where it is no single product that cuBLASLt takes.</summary>
    public (ProductShape Shape, ProductAddresses At)? Bound { get; private set; }

    /// <summary>Whether the way to compute a shape that it has is still to be measured.</summary>
    public bool IsOpen(ProductShape shape) => lowering.Device.Products.IsOpen(shape, own);

    public override void Bind(ReadOnlySpan<long> dimensions)
    {
        base.Bind(dimensions);
        product?.Dispose();
        (product, choice, Bound) = (null, null, null);
        AddCalls(dimensions);
        if (calls.Count == 0)
            return;
        if (Shape(dimensions) is { } found)
        {
            shape = found;
            if (lowering.Device.IsOnPaper)
            {
                // Its workspace is part of the memory foretold.
                _ = lowering.Device.Products;
                calls.Clear();
                return;
            }
            product = new CudaProduct(shape);
            added = end?.Addend?.Address(dimensions);
            Call first = calls[0];
            ProductAddresses addresses = new(first.Left, first.Right, first.Output, added ?? first.Output, end?.Bias?.Address(dimensions) ?? 0);
            Bound = calls.Count == 1 ? (shape, addresses) : null;
            bool isTaken = own is not null && calls.Count == 1 && own.Takes(shape, addresses);
            choice = lowering.Device.Products.Choose(shape, product, isTaken ? own : null);
            if (choice is { Library: { } algorithm })
                lowering.Resources.OfLibrary[shape] = algorithm;
            if (choice is { Library: null })
                own!.Bind(shape, addresses);
            else if (end?.Bias is not null)
                product.SetBias(addresses.Bias);
            if (end?.Input is { } input)
                product.SetInput(input.Address(dimensions));
        }
        if (choice is null && end is not null)
        {
            foreach (CudaLaunch launch in end.Apart.Value)
                launch.Bind(dimensions);
        }
        else if (choice is null)
        {
            portable ??= new CudaPortableProduct(left.Type, right.Type, output.Type, accumulate, lowering.Device, Name);
            portable.Bind(
                m.Evaluate(dimensions), n.Evaluate(dimensions), k.Evaluate(dimensions), leftStrides.At(dimensions), rightStrides.At(dimensions),
                outputStrides.At(dimensions), Inner(dimensions));
        }
    }

    // Only into memory that nothing outlives a run in.
    public override void Load()
    {
        if (choice is { Library: { } algorithm } && calls.Count > 0 && output.Memory.IsPart && lowering.Device.Products.TakeUnloaded(shape))
            _ = lowering.Device.Products.Multiply(product!, algorithm, calls[0].Right, calls[0].Left, added ?? calls[0].Output, calls[0].Output, lowering.Device.Stream);
    }

    public override void Enqueue(nint stream)
    {
        if (choice is null && end is not null && calls.Count > 0)
        {
            foreach (CudaLaunch launch in end.Apart.Value)
                launch.Enqueue(stream);
            return;
        }
        foreach (Call call in calls)
            if (choice is { Library: { } algorithm })
                CublasLt.Check(lowering.Device.Products.Multiply(product!, algorithm, call.Right, call.Left, added ?? call.Output, call.Output, stream), $"computing {Name}");
            else if (choice is not null)
                own!.Enqueue(stream);
            else
                portable!.Enqueue(call.Left, call.Right, call.Output, stream);
    }

    /// <summary>A call for each index of the batch loops but the innermost.</summary>
    private void AddCalls(ReadOnlySpan<long> dimensions)
    {
        calls.Clear();
        long count = m.Evaluate(dimensions) * n.Evaluate(dimensions) == 0 ? 0 : 1;
        foreach (BatchStrides loop in batch)
            count *= loop.Count.Evaluate(dimensions);
        long inner = batch.Length > 0 ? Math.Max(1, batch[^1].Count.Evaluate(dimensions)) : 1;
        for (long i = 0; i < count / inner; i++)
        {
            (long a, long b, long c, long index) = (0, 0, 0, i);
            for (int loop = batch.Length - 2; loop >= 0; loop--)
            {
                (index, long at) = Math.DivRem(index, batch[loop].Count.Evaluate(dimensions));
                a += at * batch[loop].Left.Evaluate(dimensions);
                b += at * batch[loop].Right.Evaluate(dimensions);
                c += at * batch[loop].Output.Evaluate(dimensions);
            }
            calls.Add(new Call(
                left.Address(dimensions) + (nint)(a * left.Type.Size()), right.Address(dimensions) + (nint)(b * right.Type.Size()),
                output.Address(dimensions) + (nint)(c * output.Type.Size())));
        }
    }

    private (long Count, long Left, long Right, long Output) Inner(ReadOnlySpan<long> dimensions) => batch.Length == 0
        ? (1, 0, 0, 0)
        : (batch[^1].Count.Evaluate(dimensions), batch[^1].Left.Evaluate(dimensions), batch[^1].Right.Evaluate(dimensions), batch[^1].Output.Evaluate(dimensions));

    /// <summary>The product in cuBLASLt's terms; null where it doesn't take the types or the layouts.</summary>
    public ProductShape? Shape(ReadOnlySpan<long> dimensions)
    {
        bool types = left.Type == right.Type && left.Type != ScalarType.I32 && (output.Type == ScalarType.F32 || output.Type == left.Type);
        (long rows, long columns, long depth) = (m.Evaluate(dimensions), n.Evaluate(dimensions), k.Evaluate(dimensions));
        if (!types || depth == 0)
            return null;
        (long count, long leftStep, long rightStep, long outputStep) = Inner(dimensions);
        if (Operand(right.Type, rightStrides.At(dimensions), depth, columns, rightStep) is not { } a
            || Operand(left.Type, leftStrides.At(dimensions), rows, depth, leftStep) is not { } b
            || Operand(output.Type, outputStrides.At(dimensions), rows, columns, outputStep) is not { Transposed: false } c)
            return null;
        return new ProductShape(columns, rows, depth, count, a, b, c, accumulate || end?.Addend is not null, end?.Bias is not null,
            byTf32 && left.Type == ScalarType.F32, end?.Activation ?? ProductActivation.None, end?.InputStride ?? 0);
    }

    /// <summary>A matrix of rows as one of columns.</summary>
    private static ProductOperand? Operand(ScalarType type, (long Row, long Column) strides, long rows, long columns, long step)
    {
        if (strides.Column == 1 || columns == 1)
            return rows == 1 || strides.Row >= columns ? new ProductOperand(type, false, rows == 1 ? columns : strides.Row, step) : null;
        if (strides.Row == 1 || rows == 1)
            return strides.Column >= rows ? new ProductOperand(type, true, strides.Column, step) : null;
        return null;
    }

    private static Matrix Transpose(Matrix matrix) => new(matrix.View, matrix.ColumnStride, matrix.RowStride);

    /// <summary>Addresses of one call.</summary>
    private readonly record struct Call(nint Left, nint Right, nint Output);

    private readonly struct Strides(Matrix matrix, CudaLowering lowering)
    {
        private readonly CpuExtent row = lowering.Extent(matrix.RowStride), column = lowering.Extent(matrix.ColumnStride);

        public (long Row, long Column) At(ReadOnlySpan<long> dimensions) => (row.Evaluate(dimensions), column.Evaluate(dimensions));
    }

    private sealed class BatchStrides(BatchLoop loop, bool transposed, CudaLowering lowering)
    {
        public readonly CpuExtent Count = lowering.Extent(loop.Count);
        public readonly CpuExtent Left = lowering.Extent(transposed ? loop.RightStride : loop.LeftStride);
        public readonly CpuExtent Right = lowering.Extent(transposed ? loop.LeftStride : loop.RightStride);
        public readonly CpuExtent Output = lowering.Extent(loop.OutputStride);
    }
}
