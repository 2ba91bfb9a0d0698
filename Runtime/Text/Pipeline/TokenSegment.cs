namespace Legato.Runtime.Text.Pipeline;

/// <summary>Tokens of one text on their way through the post-processor.</summary>
internal sealed class TokenSegment
{
    public required List<int> Ids { get; init; }

    public required List<TextSpan> Offsets { get; init; }

    public int TypeId { get; set; }

    /// <summary>True for tokens that a post-processor put in.</summary>
    public bool IsAdded { get; init; }
}
