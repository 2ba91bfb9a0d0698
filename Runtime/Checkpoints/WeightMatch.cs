using Legato.Runtime.Plans;

namespace Legato.Runtime.Checkpoints;

/// <summary>Finds the tensor of each of a model's slices in a checkpoint, or lists what doesn't fit: the first few, and how many more.</summary>
internal static class WeightMatch
{
    private const int Listed = 6;

    /// <param name="typeOf">The type that a parameter, given by its path, is to have.</param>
    /// <exception cref="LegatoException">Weights are missing, left over, misshapen or of a type that doesn't convert.</exception>
    public static List<SliceReader> Find(ITensorSource checkpoint, ModelDescription model, Func<string, ScalarType> typeOf)
    {
        List<WeightSlice> slices = WeightSlice.All(model);
        ILookup<string, WeightSlice> byTensor = slices.ToLookup(s => s.Tensor, StringComparer.Ordinal);
        var names = new CheckpointNames(checkpoint, model.Weights, byTensor);
        var readers = new List<SliceReader>();
        var problems = new List<string>();
        foreach (IGrouping<string, WeightSlice> group in byTensor)
        {
            string name = names.Prefix + group.Key;
            if (checkpoint.Find(name) is not { } found)
            {
                problems.Add($"missing: {name} (parameter {group.First().Path})");
                continue;
            }
            List<WeightSlice> stored = found.Scales is null ? [.. group] : [.. group.Select(slice => slice.Turned())];
            long[] shape = stored[0].TensorShape(stored);
            if (!IsShape(checkpoint, found.Info.Shape, shape))
            {
                problems.Add($"wrong shape: {name} is {found.Info.ShapeText}, the model's is [{string.Join(", ", shape)}]");
                continue;
            }
            foreach (WeightSlice slice in stored)
                if (ElementConversion.IsPossible(found.Info.Type, typeOf(slice.Path)))
                    readers.Add(new SliceReader(slice, found));
                else
                    problems.Add($"wrong type: {name} holds {found.Info.Type.FormatName()}, the parameter {typeOf(slice.Path)}");
        }
        problems.AddRange(names.Unknown().Select(name => $"unknown: {name}"));
        if (problems.Count > 0)
        {
            IEnumerable<string> more = problems.Count > Listed ? [$"and {problems.Count - Listed} more"] : [];
            throw new LegatoException(
                $"the checkpoint does not fit the model {model.Name}:\n  {string.Join("\n  ", problems.Take(Listed).Concat(more))}", checkpoint.Path,
                "check that the weights are this model's, which config.json or a script declares");
        }
        return readers;
    }

    // A GGUF file may leave out outer axes of one.
    private static bool IsShape(ITensorSource checkpoint, IReadOnlyList<long> found, long[] shape) =>
        found.SequenceEqual(shape)
        || (checkpoint is GgufFile && found.SkipWhile(n => n == 1).SequenceEqual(shape.SkipWhile(n => n == 1)));
}
