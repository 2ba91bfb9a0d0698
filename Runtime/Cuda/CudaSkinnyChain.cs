using Legato.Runtime.Cpu;
using Legato.Runtime.Plans;

namespace Legato.Runtime.Cuda;

/// <summary>
/// Products that a launch computes element by element in their order, or one product and the kernels that follow it on
/// the same elements: rotary positions of queries, what is appended to a cache.
/// </summary>
internal sealed class CudaSkinnyChain(IReadOnlyList<CudaSkinnyProduct> products, CudaLowering lowering)
{
    private const int TileColumns = 8;

    private readonly List<(CudaSkinnyPart Part, ElementKernel Kernel)> followers = [];

    // Matrices that a thread has made its own elements of, with their row strides.
    private readonly List<(BufferView View, Extent RowStride)> made = products.Count == 1
        ? [(products[0].Step.Output.View, products[0].Step.Output.RowStride)]
        : [];

    public IReadOnlyList<CudaSkinnyProduct> Products => products;

    /// <summary>The distance of the two columns that a thread has of the one product; 0 where it has one of each product.</summary>
    public long Distance { get; private set; }

    /// <summary>Right operands of the launch that the chain stands for.</summary>
    public int Members => Distance > 0 ? 2 : products.Count;

    /// <summary>Columns to share out.</summary>
    public Extent Columns => Distance > 0 ? Extent.Of(products[0].Step.N.Constant / 2) : products[0].Step.N;

    /// <summary>Epilogues, then followers.</summary>
    public IEnumerable<CudaSkinnyPart> Parts => products.Select(p => p.Part).Concat(followers.Select(f => f.Part));

    public Cost Cost => followers.Aggregate(products.Select(p => p.Step.Cost).Aggregate((x, y) => x + y), (sum, f) => sum + f.Part.Cost);

    /// <summary>All that the chain's part of a launch reads and writes.</summary>
    public IEnumerable<(CudaView View, Access Access)> Touched => Parts.SelectMany(p => p.Operands)
        .Concat(products.SelectMany(p => new[] { (p.Right, Access.Read), (lowering.View(p.Step.Left.View), Access.Read) }));

    /// <summary>Takes a kernel that goes through elements of the chain's, if it does.</summary>
    /// <param name="isFree">Whether an operand of the kernel meets nothing that the launch touches in a way that orders them.</param>
    public bool TryFollow(Step.Fused step, Func<CudaView, Access, bool> isFree)
    {
        if (made.Count == 0 || !products[0].Step.N.IsConstant)
            return false;
        int[] sources = [.. Enumerable.Range(0, step.Operands.Count).Where(i => made.Any(m => m.View.Equals(step.Operands[i])))];
        if (sources is not [int source] || step.Kernel.Operands[source].Access != Access.Read)
            return false;
        Step.MatrixProduct product = products[0].Step;
        Extent stride = made.Find(m => m.View.Equals(step.Operands[source])).RowStride;
        if (ElementKernel.Of(step.Kernel, source, product.M, stride, product.N.Constant) is not { } kernel || !Takes(kernel.Distance))
            return false;
        CudaView[] views = lowering.Views(step.Operands);
        for (int i = 0; i < views.Length; i++)
            if (i != source && (step.Kernel.Operands[i].Access == Access.ReadWrite || !isFree(views[i], step.Kernel.Operands[i].Access)))
                return false;
        Distance = Math.Max(Distance, kernel.Distance);
        followers.Add((new CudaSkinnyPart(step.Cost, CudaSkinnyText.Of(step.Kernel, kernel, product, lowering.Bounds), views, lowering), kernel));
        for (int i = 0; i < views.Length; i++)
            if (step.Kernel.Operands[i].Access == Access.Write && kernel.RowStrideOf(i) is { } written)
                made.Add((step.Operands[i], written));
        return true;
    }

    /// <summary>Has a thread take two columns, as it does of the chains beside this one.</summary>
    public bool TryPair(long distance)
    {
        if (!Takes(distance) || products.Count > 1)
            return false;
        Distance = distance;
        return true;
    }

    /// <summary>What a thread does for row m and column n, the first of two where they are pairs.</summary>
    /// <param name="first">The number of its first part among the launch's.</param>
    public IEnumerable<string> Lines(int first)
    {
        string[] columns = Distance > 0 ? ["n", $"n + {Distance}"] : ["n"];
        for (int i = 0; i < products.Count; i++)
            for (int c = 0; c < columns.Length; c++)
                yield return $"finish(x.e{first + i}, m, {columns[c]}, sums[{i + c}]);";
        for (int i = 0; i < followers.Count; i++)
            foreach (string column in followers[i].Kernel.Distance > 0 ? ["n"] : columns)
                yield return $"finish(x.e{first + products.Count + i}, m, {column}, 0);";
    }

    /// <summary>Of each right operand the address, the stride, the columns to share out, and the distance of two that a thread has.</summary>
    public void BindRights(Span<long> arguments, ReadOnlySpan<long> dimensions)
    {
        for (int member = 0; member < Members; member++)
        {
            CudaSkinnyProduct product = products[Distance > 0 ? 0 : member];
            long stride = product.RightStride.Evaluate(dimensions), columns = product.Columns.Evaluate(dimensions);
            (arguments[0], arguments[1]) = (product.Right.Address(dimensions), stride);
            (arguments[2], arguments[3]) = (columns, columns);
            if (Distance > 0)
                (arguments[0], arguments[2], arguments[3]) = (arguments[0] + member * Distance * stride * product.Right.Type.Size(), columns / 2, Distance);
            arguments = arguments[CudaSkinnyLaunch.RightWords..];
        }
    }

    private bool Takes(long distance) =>
        distance == 0 || (Distance == 0 || Distance == distance) && distance % TileColumns == 0 && products[0].Step.N.IsConstant && products[0].Step.N.Constant % (2 * distance) == 0;
}

/// <summary>One of the products of a launch.</summary>
internal sealed record CudaSkinnyProduct(Step.MatrixProduct Step, CudaSkinnyPart Part, CudaView Right, CpuExtent RightStride, CpuExtent Columns)
{
    /// <summary>Null where the kernel takes no such product.</summary>
    public static CudaSkinnyProduct? Of(Step.MatrixProduct step, CudaLowering lowering)
    {
        CudaView right = lowering.View(step.Right.View), output = lowering.View(step.Output.View);
        if (!CudaSkinnyLaunch.Takes(step, lowering.View(step.Left.View), right, lowering) || CudaSkinnyText.Of(step, output.Type, lowering.Bounds) is not { } text)
            return null;
        var part = new CudaSkinnyPart(step.Cost, text, [output, .. lowering.Views(step.EpilogueOperands)], lowering);
        return new CudaSkinnyProduct(step, part, right, lowering.Extent(step.Right.ColumnStride), lowering.Extent(step.N));
    }
}

/// <summary>Something that is done with elements: an epilogue, or a kernel that follows.</summary>
internal sealed class CudaSkinnyPart(Cost cost, CudaSkinnyText text, CudaView[] operands, CudaLowering lowering)
{
    private readonly CpuExtent[] extents = lowering.Extents(text.Extents);

    public Cost Cost => cost;

    public CudaSkinnyText Text => text;

    /// <summary>The operands with what is done with each.</summary>
    public IEnumerable<(CudaView View, Access Access)> Operands => operands.Zip(text.Operands, (view, operand) => (view, operand.Access));

    /// <summary>Words among the launch's.</summary>
    public int Arguments => operands.Length + extents.Length;

    public void Bind(Span<long> arguments, ReadOnlySpan<long> dimensions)
    {
        for (int i = 0; i < operands.Length; i++)
            arguments[i] = operands[i].Address(dimensions);
        for (int i = 0; i < extents.Length; i++)
            arguments[operands.Length + i] = extents[i].Evaluate(dimensions);
    }
}
