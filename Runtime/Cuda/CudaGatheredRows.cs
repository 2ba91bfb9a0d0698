using Legato.Runtime.Cpu;
using Legato.Runtime.Plans;

namespace Legato.Runtime.Cuda;

/// <summary>
/// Memory for rows gathered by group, in two places: the operands of a gradient. What lies there from an earlier step is
/// not gathered again as long as nothing has changed it: products of one operand follow each other in a mixture.
/// </summary>
internal sealed class CudaGatheredRows(CudaLowering lowering)
{
    private const int Places = 2;

    private readonly Content?[] contents = new Content?[Places];
    private CudaMemory[] memories = [];
    private int last;

    /// <summary>Where an operand's rows lie when the step that is being added runs, and whether an earlier step has left them there.</summary>
    public (CudaMemory Memory, bool IsThere) Take(CudaGroupedMatrix matrix, CudaRowGroups rows)
    {
        if (memories.Length == 0)
        {
            long most = Operands(lowering.Resources.Plan.Steps).Max(o => Bytes(o.Rows, o.Matrix, o.Columns));
            memories = [.. Enumerable.Range(0, Places).Select(_ => lowering.Resources.Keep(most))];
        }
        var wanted = new Content(matrix.View.Memory, matrix.View.Offset, matrix.Form, matrix.Width, rows.Order.Memory, rows.Order.Offset);
        int place = Array.IndexOf(contents, wanted);
        bool isThere = place >= 0;
        if (!isThere)
            contents[place = (last + 1) % Places] = wanted;
        last = place;
        return (memories[place], isThere);
    }

    /// <summary>The step that has been added writes these.</summary>
    public void Pass(params IReadOnlyList<CudaView> written)
    {
        for (int i = 0; i < Places; i++)
            if (contents[i] is { Source: var source } && written.Any(v => v.Start < source.Address + (nint)source.Bytes && source.Address < v.End))
                contents[i] = null;
    }

    /// <summary>A step has been added that may write anything.</summary>
    public void Forget() => Array.Clear(contents);

    private IEnumerable<(RowGroups Rows, GroupedMatrix Matrix, Extent Columns)> Operands(IEnumerable<Step> steps) => steps.SelectMany(step => step switch
    {
        Step.Loop loop => Operands(loop.Body),
        Step.GroupedProduct product when !CudaGroupedProductLaunch.PicksRows(product, lowering) => [(product.Rows, product.Left, product.K)],
        Step.GroupedGradient gradient => [(gradient.Rows, gradient.Left, gradient.M), (gradient.Rows, gradient.Right, gradient.N)],
        _ => Enumerable.Empty<(RowGroups, GroupedMatrix, Extent)>(),
    });

    private long Bytes(RowGroups rows, GroupedMatrix matrix, Extent columns) =>
        CudaRowGroups.Gathered(lowering.Resources.Plan.Maximum(rows.Count), rows.Groups) * lowering.Resources.Plan.Maximum(columns) * lowering.TypeOf(matrix.View).Size();

    /// <summary>What lies in a place: which operand's rows, in which order.</summary>
    private sealed record Content(CudaMemory Source, CpuExtent Offset, GroupedMatrix Form, CpuExtent Width, CudaMemory Order, CpuExtent OrderOffset);
}
