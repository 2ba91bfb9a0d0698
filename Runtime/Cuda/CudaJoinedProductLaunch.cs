using Legato.Runtime.Plans;

namespace Legato.Runtime.Cuda;

/// <summary>
/// Products of which our own kernel makes one: of one left matrix, or summed without sums in between going through memory. They
/// are launched one after another where that takes clearly less time.
/// </summary>
internal sealed class CudaJoinedProductLaunch : CudaLaunch
{
    /// <summary>Their maps must go into a launch's parameters.</summary>
    private const int MostProducts = 4;

    private readonly CudaDeferredProduct joined;
    private readonly CudaProductLaunch[] apart;
    private readonly CudaLowering lowering;
    private bool isJoined;

    private CudaJoinedProductLaunch(JoinedProducts products, CudaProductLaunch[] apart, CudaLowering lowering)
        : base($"{apart[0].Name} and {apart.Length - 1} more", products.Steps.Select(s => s.Cost).Aggregate((x, y) => x + y), lowering)
    {
        (this.apart, this.lowering) = (apart, lowering);
        Step.MatrixProduct first = products.Steps[0];
        var form = new DeferredProductForm(
            lowering.TypeOf(first.Left.View), first.Right.ColumnStride.Equals(Extent.One), apart.Length, products.AreSummed, products.HaveBias);
        joined = new CudaDeferredProduct(form, Name, lowering);
    }

    /// <summary>Null where the GPU, types or layouts are others.</summary>
    /// <param name="apart">The launches of the products one by one.</param>
    public static CudaJoinedProductLaunch? Of(JoinedProducts products, CudaProductLaunch[] apart, CudaLowering lowering)
    {
        Step.MatrixProduct first = products.Steps[0];
        ScalarType type = lowering.TypeOf(first.Left.View);
        bool rightOverRows = first.Right.ColumnStride.Equals(Extent.One);
        bool areTaken = apart.Length <= MostProducts && products.Steps.All(p =>
            CudaHopperProduct.Takes(lowering.TypeOf(p.Left.View), lowering.TypeOf(p.Right.View), lowering.TypeOf(p.Output.View), lowering)
            && lowering.TypeOf(p.Left.View) == type && lowering.TypeOf(p.Output.View) == type
            && p.Left.ColumnStride.Equals(Extent.One) && p.Output.ColumnStride.Equals(Extent.One)
            && (rightOverRows ? p.Right.ColumnStride : p.Right.RowStride).Equals(Extent.One));
        return areTaken ? new CudaJoinedProductLaunch(products, apart, lowering) : null;
    }

    public override void Bind(ReadOnlySpan<long> dimensions)
    {
        base.Bind(dimensions);
        foreach (CudaProductLaunch launch in apart)
            launch.Bind(dimensions);
        isJoined = false;
        if (apart.Any(launch => launch.Bound is not { } bound || !joined.Takes(bound.Shape, bound.At)))
            return;
        DeferredPart[] parts = [.. apart.Select(launch => launch.Bound!.Value).Select(b => new DeferredPart(b.Shape, b.At.Left, b.At.Right, b.At.Output, b.At.Bias))];
        // A sum stands where its last product ends.
        parts[0] = parts[0] with { Output = parts[joined.Results == 1 ? ^1 : 0].Output };
        isJoined = !lowering.Device.MeasuresProducts || !MeasuredChoice.Displaces(apart.Sum(launch => launch.Seconds), lowering.Device.Products.Seconds(joined, parts));
        if (isJoined)
            joined.Bind(parts);
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
            joined.Enqueue(stream);
        else
            foreach (CudaProductLaunch launch in apart)
                launch.Enqueue(stream);
    }
}
