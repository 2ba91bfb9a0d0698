using System.Globalization;
using Legato.Runtime.Plans;

namespace Legato.Runtime.Checkpoints;

/// <summary>
/// One parameter, or one index of its stacked leading axes, and the checkpoint tensor, or the block of one, that holds it.
/// </summary>
/// <param name="Path">The parameter.</param>
/// <param name="Tensor">The tensor's name, without a prefix.</param>
/// <param name="Offset">Where the slice starts in the parameter, in elements.</param>
/// <param name="Shape">The parameter's axes after the stacked ones, grouped as the checkpoint groups them.</param>
/// <param name="Transposed">The checkpoint stores it as a matrix with the axes swapped.</param>
/// <param name="Part">The slice of the tensor, where it is not the whole.</param>
/// <param name="PairedHeads">See <see cref="WeightSource"/>.</param>
/// <param name="Block">Which of the tensor's <paramref name="Blocks"/> along its first axis holds it.</param>
/// <param name="Blocks">How many indices share a tensor; null: it has one of its own.</param>
/// <param name="Added">See <see cref="WeightSource"/>.</param>
internal sealed record WeightSlice(
    string Path, string Tensor, long Offset, long[] Shape, bool Transposed, WeightPart? Part, int PairedHeads,
    long Block = 0, long? Blocks = null, float Added = 0)
{
    public long Elements => Count(Shape);

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
        long[] block = BlockShape(siblings);
        return Blocks is { } count ? [count, .. block] : block;
    }

    /// <summary>The shape of one block of it.</summary>
    public long[] BlockShape(IEnumerable<WeightSlice> siblings)
    {
        long[] shape = [.. Shape];
        if (Transposed)
            Array.Reverse(shape);
        if (Part is { Period: { } period, Length: var length })
            shape[Part.Axis] = shape[Part.Axis] / length * period;
        else if (Part is { } part)
            shape[part.Axis] = siblings.Max(s => s.Part is { } p ? p.Start + p.Length : 0);
        return shape;
    }

    /// <summary>The same where the tensor is stored with its two axes swapped.</summary>
    public WeightSlice Turned() => this with { Transposed = !Transposed, Part = Part is { } part ? part with { Axis = 1 - part.Axis } : null };

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
        int shared = source.Grouping is { } grouping ? Math.Max(sizes.Length - stacked - grouping.Sum(), 0) : 0;
        long[] shape = Group(sizes.AsSpan(stacked + shared), source);
        long elements = Count(shape), tensors = Count(sizes[..stacked]), blocks = Count(sizes[stacked..(stacked + shared)]);
        for (long i = 0; i < tensors * blocks; i++)
            yield return new WeightSlice(
                parameter.Path, Name(source, sizes.AsSpan(0, stacked), i / blocks), i * elements, shape,
                source.Transposed, source.Part, source.PairedHeads, i % blocks, shared > 0 ? blocks : null, source.Added);
    }

    private static long Count(long[] sizes) => sizes.Aggregate(1L, (n, size) => n * size);

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
        if (source.Part is { Period: not null } turns && !CanTakeTurns(turns, source.Transposed, shape))
            throw new LegatoException($"the weight map takes {turns.Length} of every {turns.Period} elements, the parameter is [{string.Join(", ", shape)}]", source.Path);
        if (source.Part is { Period: null } part && (part.Axis >= shape.Length || part.Length != shape[source.Transposed ? 1 - part.Axis : part.Axis]))
            throw new LegatoException($"the weight map takes {part.Length} elements along axis {part.Axis}, the parameter is [{string.Join(", ", shape)}]", source.Path);
        if (source.PairedHeads > 0 && (source.Transposed || source.Part is not null || shape[0] % (2 * source.PairedHeads) != 0))
            throw new LegatoException($"the weight map pairs the rows of {source.PairedHeads} heads, the tensor is [{string.Join(", ", shape)}]", source.Path);
        return shape;
    }

    // Whole rows of a tensor, or single columns of a matrix that is transposed.
    private static bool CanTakeTurns(WeightPart part, bool transposed, long[] shape) =>
        shape[0] % part.Length == 0 && (transposed ? part is { Axis: 1, Length: 1 } : part.Axis == 0);

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
