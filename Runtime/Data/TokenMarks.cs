namespace Legato.Runtime.Data;

/// <summary>
/// What token data may say of a token beside its number, in bits above those of any vocabulary: whether a document begins
/// with it, and whether it is given, so that no model is to tell it.
/// </summary>
public static class TokenMarks
{
    public const int Begins = 1 << 30;

    public const int Given = 1 << 29;

    private const int Number = Given - 1;

    public static int NumberOf(int token) => token & Number;

    public static bool BeginsDocument(int token) => (token & Begins) != 0;

    public static bool IsGiven(int token) => (token & Given) != 0;

    /// <summary>Marks the beginnings of documents.</summary>
    /// <param name="ends">Tokens that end a document.</param>
    /// <param name="begins">Whether a document begins with the first token; then, whether one begins behind the last.</param>
    /// <returns>How many were marked.</returns>
    public static int MarkDocuments(Span<int> tokens, ReadOnlySpan<int> ends, ref bool begins)
    {
        int documents = 0;
        foreach (ref int token in tokens)
        {
            bool isEnd = ends.Contains(token);
            if (begins)
            {
                token |= Begins;
                documents++;
            }
            begins = isEnd;
        }
        return documents;
    }
}
