namespace Legato.Runtime.Data;

/// <summary>A stretch of token data: what a model is trained on, or what is held out.</summary>
public readonly record struct TokenRange(TokenData Data, long Start, long Length)
{
    public static TokenRange All(TokenData data) => new(data, 0, data.Count);

    /// <summary>
    /// Keeps the last part of the data back: the tail, so that no window of the training part shares text with it.
    /// </summary>
    /// <param name="heldOut">The share held out, in [0, 1).</param>
    /// <exception cref="LegatoException">The share is out of bounds.</exception>
    public static (TokenRange Train, TokenRange HeldOut) Split(TokenData data, double heldOut)
    {
        if (!(heldOut >= 0 && heldOut < 1))
            throw new LegatoException($"the held-out share can't be {heldOut}", remedy: "give a number from 0 to below 1, such as 0.05");
        long kept = data.Count - (long)(data.Count * heldOut);
        return (new TokenRange(data, 0, kept), new TokenRange(data, kept, data.Count - kept));
    }

    /// <summary>Copies tokens, counted from the range's start.</summary>
    public void Read(long start, Span<int> target) => Data.Read(Start + start, target);
}
