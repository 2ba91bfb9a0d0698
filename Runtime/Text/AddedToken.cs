namespace Legato.Runtime.Text;

/// <summary>A token beside the model's vocabulary that is found in the text before the model sees it.</summary>
/// <param name="Id">Its id.</param>
/// <param name="Content">Its spelling.</param>
public sealed record AddedToken(int Id, string Content)
{
    /// <summary>Found only where it isn't part of a longer word.</summary>
    public bool SingleWord { get; init; }

    /// <summary>Takes the white space before it.</summary>
    public bool StripLeft { get; init; }

    /// <summary>Takes the white space behind it.</summary>
    public bool StripRight { get; init; }

    /// <summary>Looked for in the normalized text rather than in the raw one.</summary>
    public bool Normalized { get; init; }

    /// <summary>Structure, not text: left out of decoded text, and recognised in a text only when asked for.</summary>
    public bool Special { get; init; }
}
