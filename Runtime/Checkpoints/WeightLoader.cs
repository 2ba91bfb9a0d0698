using System.Buffers;
using Legato.Runtime.Plans;

namespace Legato.Runtime.Checkpoints;

/// <summary>Matches a checkpoint's tensors with a model's parameters, then copies them.</summary>
internal static class WeightLoader
{
    /// <summary>Elements that one thread moves at a time.</summary>
    private const int ChunkElements = 1 << 20;

    public static void Load(CheckpointFolder checkpoint, ModelDescription model, Func<string, ParameterMemory> parameter)
    {
        List<TensorCopy> copies = Match(checkpoint, model, parameter);
        IEnumerable<(TensorCopy Copy, long Start)> chunks =
            from copy in copies
            from start in Chunks(copy)
            select (copy, start);
        Parallel.ForEach(
            System.Collections.Concurrent.Partitioner.Create(chunks, System.Collections.Concurrent.EnumerablePartitionerOptions.NoBuffering),
            chunk => chunk.Copy.Run(chunk.Start, ChunkElements));
    }

    private static IEnumerable<long> Chunks(TensorCopy copy)
    {
        for (long start = 0; start < copy.Slice.Elements; start += ChunkElements)
            yield return start;
    }

    private static List<TensorCopy> Match(CheckpointFolder checkpoint, ModelDescription model, Func<string, ParameterMemory> parameter)
    {
        List<WeightSlice> slices = WeightSlice.All(model);
        ILookup<string, WeightSlice> byTensor = slices.ToLookup(s => s.Tensor, StringComparer.Ordinal);
        var names = new CheckpointNames(checkpoint, model.Weights, byTensor);
        var copies = new List<TensorCopy>();
        var problems = new List<string>();
        foreach (IGrouping<string, WeightSlice> group in byTensor)
        {
            string name = names.Prefix + group.Key;
            if (checkpoint.Find(name) is not { } found)
            {
                problems.Add($"missing: {name} (parameter {group.First().Path})");
                continue;
            }
            long[] shape = group.First().TensorShape(group);
            if (!found.Tensor.Shape.SequenceEqual(shape))
            {
                problems.Add($"wrong shape: {name} is {found.Tensor.ShapeText}, the model's is [{string.Join(", ", shape)}]");
                continue;
            }
            foreach (WeightSlice slice in group)
            {
                ParameterMemory target = parameter(slice.Path);
                if (ElementConversion.IsPossible(found.Tensor.Type, target.Type))
                    copies.Add(new TensorCopy(slice, found.File, found.Tensor, target));
                else
                    problems.Add($"wrong type: {name} holds {found.Tensor.Type.FormatName()}, the parameter {target.Type}");
            }
        }
        problems.AddRange(names.Unknown().Select(name => $"unknown: {name}"));
        if (problems.Count > 0)
            throw new LegatoException(
                $"the checkpoint does not fit the model {model.Name}:\n  {string.Join("\n  ", problems)}", checkpoint.Path,
                "check that config.json belongs to these weights");
        return copies;
    }
}
