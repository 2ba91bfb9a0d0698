using Legato.Runtime.Plans;

namespace Legato.Runtime.Cuda;

/// <summary>A matrix as cuBLASLt sees it: columns lie together, or rows where it is transposed.</summary>
/// <param name="Leading">Elements from one column (row, if transposed) to the next.</param>
internal readonly record struct ProductOperand(ScalarType Type, bool Transposed, long Leading, long BatchStride)
{
    /// <summary>From the first to the last byte of a matrix of so many rows and columns, or of a batch of them.</summary>
    public long Bytes(long rows, long columns, long batch)
    {
        (long stored, long lines) = Transposed ? (columns, rows) : (rows, columns);
        return ((batch - 1) * BatchStride + (lines - 1) * Leading + stored) * Type.Size();
    }
}

/// <summary>
/// A product of columns-first matrices: C[rows, columns] = A · B, for each of a batch, plus what C or another matrix like it
/// holds, plus a vector for each column, and what an activation makes of that.
/// </summary>
/// <param name="InputLeading">Of the activation's input, which is as large as C.</param>
internal readonly record struct ProductShape(
    long Rows, long Columns, long Depth, long Batch, ProductOperand A, ProductOperand B, ProductOperand C, bool Accumulate, bool HasBias, bool ByTf32,
    ProductActivation Activation, long InputLeading);

/// <summary>cuBLASLt's descriptions of a product.</summary>
internal sealed unsafe class CudaProduct : IDisposable
{
    /// <summary>Bytes to a multiple of which the vector must lie that is added to each column.</summary>
    public const int BiasAlignment = 16;

    private const int Real = 0;

    public CudaProduct(ProductShape shape)
    {
        Accumulate = shape.Accumulate;
        CublasLt.Check(CublasLt.ProductCreate(out nint description, shape.ByTf32 ? CublasLt.Float32ByTf32 : CublasLt.Float32, Real), "describing a product");
        Description = description;
        int a = shape.A.Transposed ? 1 : 0, b = shape.B.Transposed ? 1 : 0;
        CublasLt.Check(CublasLt.ProductSetAttribute(description, CublasLt.TransposeA, &a, sizeof(int)), "describing a product");
        CublasLt.Check(CublasLt.ProductSetAttribute(description, CublasLt.TransposeB, &b, sizeof(int)), "describing a product");
        if (EpilogueOf(shape) is int epilogue)
            CublasLt.Check(CublasLt.ProductSetAttribute(description, CublasLt.Epilogue, &epilogue, sizeof(int)), "describing an epilogue");
        long inputLeading = shape.InputLeading;
        if (shape.Activation != ProductActivation.None)
            CublasLt.Check(CublasLt.ProductSetAttribute(description, CublasLt.InputLeading, &inputLeading, sizeof(long)), "describing an epilogue");
        A = Layout(shape.A, shape.Rows, shape.Depth, shape.Batch);
        B = Layout(shape.B, shape.Depth, shape.Columns, shape.Batch);
        C = Layout(shape.C, shape.Rows, shape.Columns, shape.Batch);
        Bytes = (shape.A.Bytes(shape.Rows, shape.Depth, shape.Batch), shape.B.Bytes(shape.Depth, shape.Columns, shape.Batch), shape.C.Bytes(shape.Rows, shape.Columns, shape.Batch));
    }

    public nint Description { get; }

    public nint A { get; }

    public nint B { get; }

    public nint C { get; }

    public bool Accumulate { get; }

    /// <summary>From the first to the last byte of each matrix of the batch.</summary>
    public (long A, long B, long C) Bytes { get; }

    /// <summary>Where the vector lies that is added to each column.</summary>
    public void SetBias(nint address) =>
        CublasLt.Check(CublasLt.ProductSetAttribute(Description, CublasLt.BiasPointer, &address, (nuint)sizeof(nint)), "describing an epilogue");

    /// <summary>Where the activation's input lies.</summary>
    public void SetInput(nint address) =>
        CublasLt.Check(CublasLt.ProductSetAttribute(Description, CublasLt.InputPointer, &address, (nuint)sizeof(nint)), "describing an epilogue");

    public void Dispose()
    {
        _ = CublasLt.LayoutDestroy(A);
        _ = CublasLt.LayoutDestroy(B);
        _ = CublasLt.LayoutDestroy(C);
        _ = CublasLt.ProductDestroy(Description);
    }

    private static int? EpilogueOf(ProductShape shape) => (shape.Activation, shape.HasBias) switch
    {
        (ProductActivation.Gelu, true) => CublasLt.GeluOfBiased,
        (ProductActivation.Gelu, false) => CublasLt.Gelu,
        (ProductActivation.GeluSlope, _) => CublasLt.GeluSlope,
        (_, true) => CublasLt.AddsBias,
        _ => null,
    };

    private static nint Layout(ProductOperand operand, long rows, long columns, long batch)
    {
        (long stored, long lines) = operand.Transposed ? (columns, rows) : (rows, columns);
        CublasLt.Check(CublasLt.LayoutCreate(out nint layout, CudaTypes.DataType(operand.Type), (ulong)stored, (ulong)lines, operand.Leading), "describing a matrix");
        if (batch > 1)
        {
            int count = checked((int)batch);
            long stride = operand.BatchStride;
            CublasLt.Check(CublasLt.LayoutSetAttribute(layout, CublasLt.BatchCount, &count, sizeof(int)), "describing a batch");
            CublasLt.Check(CublasLt.LayoutSetAttribute(layout, CublasLt.BatchStride, &stride, sizeof(long)), "describing a batch");
        }
        return layout;
    }
}
