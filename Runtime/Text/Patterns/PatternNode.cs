namespace Legato.Runtime.Text.Patterns;

/// <summary>A regular expression as a tree.</summary>
internal abstract record PatternNode
{
    /// <summary>One character of a set.</summary>
    public sealed record One(CharacterSet Set) : PatternNode;

    /// <summary>A place rather than a character.</summary>
    public sealed record Anchor(AnchorKind Kind) : PatternNode;

    public sealed record Sequence(IReadOnlyList<PatternNode> Items) : PatternNode;

    public sealed record Choice(IReadOnlyList<PatternNode> Alternatives) : PatternNode;

    /// <param name="Maximum">-1 for no limit.</param>
    public sealed record Repeat(PatternNode Body, int Minimum, int Maximum, Greed Greed) : PatternNode;

    /// <summary>A part that gives nothing back once it has matched.</summary>
    public sealed record Atomic(PatternNode Body) : PatternNode;

    /// <summary>A condition on what follows or precedes.</summary>
    public sealed record Look(PatternNode Body, bool Behind, bool Negative) : PatternNode;
}

internal enum AnchorKind
{
    TextStart,
    TextEnd,
    TextEndOrLastLine,
    LineStart,
    LineEnd,
    WordEdge,
    NotWordEdge,
}

internal enum Greed
{
    Greedy,
    Lazy,
    Possessive,
}
