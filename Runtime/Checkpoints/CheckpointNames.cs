using Legato.Runtime.Plans;

namespace Legato.Runtime.Checkpoints;

/// <summary>The names in a checkpoint against the names that a family gives: which prefix it uses, what is left over.</summary>
internal sealed class CheckpointNames
{
    private readonly ITensorSource checkpoint;
    private readonly WeightMap map;
    private readonly ILookup<string, WeightSlice> expected;

    public CheckpointNames(ITensorSource checkpoint, WeightMap map, ILookup<string, WeightSlice> expected)
    {
        (this.checkpoint, this.map, this.expected) = (checkpoint, map, expected);
        Prefix = map.Prefixes.Count == 0
            ? ""
            : map.Prefixes.MaxBy(prefix => expected.Count(g => checkpoint.Find(prefix + g.Key) is not null))!;
    }

    /// <summary>The prefix under which most of the expected names are found.</summary>
    public string Prefix { get; }

    /// <summary>Tensors that carry weights no parameter asks for.</summary>
    public IEnumerable<string> Unknown() =>
        from name in checkpoint.Names
        where !(name.StartsWith(Prefix, StringComparison.Ordinal) && expected.Contains(name[Prefix.Length..]))
        where !IsIgnored(name) && !(name.StartsWith(Prefix, StringComparison.Ordinal) && IsIgnored(name[Prefix.Length..]))
        orderby name
        select name;

    private bool IsIgnored(string name)
    {
        foreach (string pattern in map.Ignored)
            if (Matches(name, pattern))
                return true;
        return false;
    }

    // {0} in the pattern stands for digits; the parts between stand for themselves.
    private static bool Matches(ReadOnlySpan<char> name, ReadOnlySpan<char> pattern)
    {
        int hole = pattern.IndexOf("{0}");
        if (hole < 0)
            return name.SequenceEqual(pattern);
        if (!name.StartsWith(pattern[..hole]))
            return false;
        int digits = hole;
        while (digits < name.Length && char.IsAsciiDigit(name[digits]))
            digits++;
        return digits > hole && Matches(name[digits..], pattern[(hole + 3)..]);
    }
}
