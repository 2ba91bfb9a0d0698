using System.Collections.Concurrent;
using Legato.Runtime.Plans;

namespace Legato.Runtime.Checkpoints;

/// <summary>The tensors of a checkpoint in which NaN or infinities were come across, by whichever threads read them.</summary>
public sealed class NonFiniteTensors
{
    private const int MostNamed = 3;

    // A tensor's name, and its file.
    private readonly ConcurrentDictionary<string, string> found = new(StringComparer.Ordinal);

    /// <summary>What they are in words, or null where there are none.</summary>
    public string? Description
    {
        get
        {
            string[] names = [.. found.Keys.Order(StringComparer.Ordinal)];
            string named = string.Join(", ", names.Take(MostNamed));
            return names.Length switch
            {
                0 => null,
                1 => $"tensor '{named}' holds NaN or infinities",
                <= MostNamed => $"{names.Length} tensors hold NaN or infinities: {named}",
                _ => $"{names.Length} tensors hold NaN or infinities: {named} and {names.Length - MostNamed} more",
            };
        }
    }

    internal void Look(StoredTensor tensor, ScalarType type, ReadOnlySpan<byte> elements)
    {
        if (!ElementConversion.AreFinite(type, elements))
            Add(tensor);
    }

    internal void Add(StoredTensor tensor) => found[tensor.Info.Name] = tensor.File.Path;

    /// <exception cref="LegatoException">There are some.</exception>
    internal void RequireNone(string remedy)
    {
        if (Description is { } what)
            throw new LegatoException(what, found.Values.Order(StringComparer.Ordinal).First(), remedy);
    }
}
