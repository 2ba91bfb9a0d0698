namespace Legato.Runtime.Text.Scanners;

/// <summary>
/// A hand-written matcher of a split pattern over well-formed UTF-8.
/// Every pattern here matches at every position, so pieces follow each other without gaps.
/// </summary>
internal interface IPieceScanner
{
    /// <summary>The end of the piece that starts at <paramref name="start"/>.</summary>
    /// <param name="buffer">The text followed by <see cref="Runs.Padding"/> zero bytes.</param>
    /// <param name="start">A position inside the text.</param>
    static abstract int End(ReadOnlySpan<byte> buffer, int start);
}
