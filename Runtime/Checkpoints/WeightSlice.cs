using System.Globalization;
using Legato.Runtime.Plans;

namespace Legato.Runtime.Checkpoints;

/// <summary>
/// One parameter, or one index of its stacked leading axes, and the checkpoint tensor that holds it.
/// </summary>
/// <param name="Path">The parameter.</param>
/// <param name="Tensor">The tensor's name, without a prefix.</param>
/// <param name="Offset">Where the slice starts in the parameter, in elements.</param>
/// <param name="Shape">The parameter's axes after the stacked ones, grouped as the checkpoint groups them.</param>
/// <param name="Transposed">The checkpoint stores it as a matrix with the axes swapped.</param>
/// <param name="Part">The slice of the tensor, where it is not the whole.</param>
/// <param name="PairedHeads">See <see cref="WeightSource"/>.</param>
internal sealed record WeightSlice(
    string Path, string Tensor, long Offset, long[] Shape, bool Transposed, WeightPart? Part, int PairedHeads)
{
    public long Elements => Shape.Aggregate(1L, (n, size) => n * size);

    /// <summary>
    /// Every slice of a model's parameters, in the order of the parameters. A model without a table keeps each parameter
    /// whole, under its own path.
    /// </summary>
    /// <exception cref="LegatoException">The family's table does not name a parameter, or not as it is.</exception>
    public static List<WeightSlice> All(ModelDescription model)
    {
        var sources = model.Weights.Sources.ToDictionary(s => s.Path, StringComparer.Ordinal);
        var slices = new List<WeightSlice>();
        foreach (PlanParameter parameter in model.Parameters)
        {
            if (sources.Count == 0)
                slices.AddRange(Of(parameter, new WeightSource(parameter.Path, parameter.Path)));
            else if (sources.TryGetValue(parameter.Path, out WeightSource? source))
                slices.AddRange(Of(parameter, source));
            else
                throw new LegatoException(
                    $"the weight map of {model.Name} has no line for parameter '{parameter.Path}'", parameter.Path,
                    "add the parameter's name in checkpoints to the family's weight map");
        }
        return slices;
    }

    /// <summary>The shape of the whole tensor in the checkpoint.</summary>
    public long[] TensorShape(IEnumerable<WeightSlice> siblings)
    {
        long[] shape = [.. Shape];
        if (Transposed)
            Array.Reverse(shape);
        if (Part is { Period: { } period, Length: var length })
            shape[0] = Shape[0] / length * period;
        else if (Part is { } part)
            shape[part.Axis] = siblings.Max(s => s.Part is { } p ? p.Start + p.Length : 0);
        return shape;
    }

    private static IEnumerable<WeightSlice> Of(PlanParameter parameter, WeightSource source)
    {
        long[] sizes = [.. parameter.Axes.Select(a => a.Size.Constant)];
        int stacked = 0;
        while (source.Name.Contains(Placeholder(stacked), StringComparison.Ordinal))
            stacked++;
        if (source.Numbers is { } numbers && (stacked == 0 || numbers.Count != sizes[0]))
            throw new LegatoException($"the weight map numbers {numbers.Count} tensors of '{source.Name}', the parameter is [{string.Join(", ", sizes)}]", parameter.Path);
        if (stacked > sizes.Length)
            throw new LegatoException($"the weight map puts {stacked} indices into '{source.Name}', the parameter has {sizes.Length} axes", parameter.Path);
        long[] shape = Group(sizes.AsSpan(stacked), source);
        long elements = shape.Aggregate(1L, (n, size) => n * size);
        long count = sizes[..stacked].Aggregate(1L, (n, size) => n * size);
        for (long i = 0; i < count; i++)
            yield return new WeightSlice(
                parameter.Path, Name(source, sizes.AsSpan(0, stacked), i), i * elements, shape,
                source.Transposed, source.Part, source.PairedHeads);
    }

    private static long[] Group(ReadOnlySpan<long> sizes, WeightSource source)
    {
        long[] shape = sizes.ToArray();
        if (source.Grouping is { } grouping)
        {
            if (grouping.Sum() != sizes.Length)
                throw new LegatoException($"the weight map groups {grouping.Sum()} axes, the parameter has {sizes.Length}", source.Path);
            shape = new long[grouping.Count];
            int axis = 0;
            for (int group = 0; group < shape.Length; group++)
            {
                shape[group] = 1;
                for (int i = 0; i < grouping[group]; i++)
                    shape[group] *= sizes[axis++];
            }
        }
        if (source.Transposed && shape.Length != 2)
            throw new LegatoException($"the weight map transposes a tensor of {shape.Length} axes", source.Path, "group the axes into two");
        if (source.Part is { Period: not null } turns && (source.Transposed || turns.Axis != 0 || shape[0] % turns.Length != 0))
            throw new LegatoException($"the weight map takes {turns.Length} of every {turns.Period} elements, the parameter is [{string.Join(", ", shape)}]", source.Path);
        if (source.Part is { Period: null } part && (part.Axis >= shape.Length || part.Length != shape[source.Transposed ? 1 - part.Axis : part.Axis]))
            throw new LegatoException($"the weight map takes {part.Length} elements along axis {part.Axis}, the parameter is [{string.Join(", ", shape)}]", source.Path);
        if (source.PairedHeads > 0 && (source.Transposed || source.Part is not null || shape[0] % (2 * source.PairedHeads) != 0))
            throw new LegatoException($"the weight map pairs the rows of {source.PairedHeads} heads, the tensor is [{string.Join(", ", shape)}]", source.Path);
        return shape;
    }

    // The flat index i over the leading axes, written into the name's placeholders.
    private static string Name(WeightSource source, ReadOnlySpan<long> leading, long i)
    {
        string name = source.Name;
        for (int axis = leading.Length - 1; axis >= 0; axis--)
        {
            (i, long index) = Math.DivRem(i, leading[axis]);
            long number = axis == 0 && source.Numbers is { } numbers ? numbers[(int)index] : index;
            name = name.Replace(Placeholder(axis), number.ToString(CultureInfo.InvariantCulture), StringComparison.Ordinal);
        }
        return name;
    }

    private static string Placeholder(int axis) => $"{{{axis}}}";
}
