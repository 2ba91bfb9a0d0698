namespace Legato.Runtime.Generation;

/// <summary>What to generate.</summary>
/// <param name="MaxTokens">Tokens to add to each prompt, at most.</param>
public sealed record GenerationOptions(int MaxTokens)
{
    public Sampling Sampling { get; init; } = new();

    /// <summary>
    /// Of the choices. Row r of a call draws as row 0 of a call with Seed + r does, whatever rows are beside it.
    /// </summary>
    public long Seed { get; init; }

    /// <summary>Texts that end a row; they are not part of its text.</summary>
    public IReadOnlyList<string> Stop { get; init; } = [];

    /// <summary>Tokens that end a row; they are not part of it. Null: the model's own.</summary>
    public IReadOnlyList<int>? EndTokens { get; init; }
}

/// <summary>A token as it is chosen, or the rest of a row's text at its end.</summary>
/// <param name="Token">Null: none; text that was held back comes out.</param>
/// <param name="Text">The text of the row that is certain by now and was not given before.</param>
public readonly record struct GeneratedToken(int Row, int? Token, string Text);

public enum FinishReason
{
    /// <summary>As many tokens as were asked for.</summary>
    Length,
    EndToken,
    StopText,
    Cancelled,
}

/// <summary>What a row was continued with.</summary>
public sealed record GeneratedRow(IReadOnlyList<int> Tokens, string Text, FinishReason Reason);
