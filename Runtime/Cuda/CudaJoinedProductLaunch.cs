using Legato.Runtime.Plans;

namespace Legato.Runtime.Cuda;

/// <summary>
/// Products of which our own kernel makes one: of one left matrix, or summed or combined without what is in between going through
/// memory. They are launched one after another where that takes clearly less time.
/// </summary>
internal sealed class CudaJoinedProductLaunch : CudaLaunch
{
    /// <summary>Their maps must go into a launch's parameters.</summary>
    private const int MostProducts = 4;

    private readonly CudaDeferredProduct joined;
    private readonly CudaProductLaunch[] apart;
    private readonly Lazy<CudaLaunch>? combination;
    private readonly CudaLowering lowering;
    private bool isJoined;

    private CudaJoinedProductLaunch(JoinedProducts products, CudaProductLaunch[] apart, Lazy<CudaLaunch>? combination, CudaLowering lowering)
        : base($"{apart[0].Name} and {apart.Length - 1} more", products.Steps.Select(s => s.Cost).Aggregate((x, y) => x + y), lowering)
    {
        (this.apart, this.combination, this.lowering) = (apart, combination, lowering);
        Step.MatrixProduct first = products.Steps[0];
        var form = new DeferredProductForm(
            lowering.TypeOf(first.Left.View), first.Right.ColumnStride.Equals(Extent.One), apart.Length, products.Join, products.HaveBias, Combination: products.Combination);
        joined = new CudaDeferredProduct(form, Name, lowering);
    }

    /// <summary>Null where the GPU, types or layouts are others.</summary>
    /// <param name="apart">The launches of the products one by one.</param>
    /// <param name="combination">What combines them after that, if they are combined.</param>
    public static CudaJoinedProductLaunch? Of(JoinedProducts products, CudaProductLaunch[] apart, Lazy<CudaLaunch>? combination, CudaLowering lowering)
    {
        Step.MatrixProduct first = products.Steps[0];
        ScalarType type = lowering.TypeOf(first.Left.View);
        bool rightOverRows = first.Right.ColumnStride.Equals(Extent.One);
        bool areTaken = apart.Length <= MostProducts && products.Steps.All(p =>
            CudaHopperProduct.Takes(lowering.TypeOf(p.Left.View), lowering.TypeOf(p.Right.View), lowering.TypeOf(p.Output.View), lowering)
            && lowering.TypeOf(p.Left.View) == type && lowering.TypeOf(p.Output.View) == type
            && p.Left.ColumnStride.Equals(Extent.One) && p.Output.ColumnStride.Equals(Extent.One)
            && (rightOverRows ? p.Right.ColumnStride : p.Right.RowStride).Equals(Extent.One));
        return areTaken ? new CudaJoinedProductLaunch(products, apart, combination, lowering) : null;
    }

    public override void Bind(ReadOnlySpan<long> dimensions)
    {
        base.Bind(dimensions);
        foreach (CudaProductLaunch launch in apart)
            launch.Bind(dimensions);
        isJoined = TryJoin();
        if (!isJoined)
            combination?.Value.Bind(dimensions);
    }

    public override void Load()
    {
        if (!isJoined)
            foreach (CudaProductLaunch launch in apart)
                launch.Load();
    }

    public override void Enqueue(nint stream)
    {
        if (isJoined)
        {
            joined.Enqueue(stream);
            return;
        }
        foreach (CudaProductLaunch launch in apart)
            launch.Enqueue(stream);
        combination?.Value.Enqueue(stream);
    }

    /// <summary>Binds them as one; false where that isn't to be launched.</summary>
    private bool TryJoin()
    {
        if (apart.Any(launch => launch.Bound is not { } bound || !joined.Takes(bound.Shape, bound.At)))
            return false;
        DeferredPart[] parts = [.. apart.Select(launch => launch.Bound!.Value).Select(b => new DeferredPart(b.Shape, b.At.Left, b.At.Right, b.At.Output, b.At.Bias))];
        // One result stands where its last product's does.
        parts[0] = parts[0] with { Output = parts[joined.Results == 1 ? ^1 : 0].Output };
        ProductShape shape = parts[0].Shape;
        // What combines them reads each and writes one.
        long moved = combination is null ? 0 : (apart.Length + 1) * shape.C.Bytes(shape.Rows, shape.Columns, shape.Batch);
        double seconds = apart.Sum(launch => launch.Seconds) + moved / lowering.Device.Information.MemoryBytesPerSecond;
        if (lowering.Device.MeasuresProducts && MeasuredChoice.Displaces(seconds, lowering.Device.Products.Seconds(joined, parts)))
            return false;
        joined.Bind(parts);
        return true;
    }
}
