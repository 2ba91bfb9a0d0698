using System.Text;
using System.Text.Json;
using Legato.Runtime.Text.Pipeline;

namespace Legato.Runtime.Text.Models;

/// <summary>One token a piece; what the vocabulary doesn't have is unknown.</summary>
internal sealed class WordLevelModel(Vocabulary vocabulary, string? unknownToken) : ITokenModel
{
    private readonly int unknownId = vocabulary.IdOf(unknownToken) ?? -1;

    public Vocabulary Vocabulary => vocabulary;

    public void Tokenize(in TextPiece piece, TokenBuffer output)
    {
        if (vocabulary.TryGetTextId(piece.Chars, out int id))
            output.Add(id, piece, 0, piece.Length);
        else if (unknownId >= 0)
            output.Add(unknownId, piece, 0, piece.Length);
        else
            output.NoteUncovered(piece.Chars);
    }

    public void Write(Utf8JsonWriter json)
    {
        json.WriteStartObject();
        json.WriteString("type", "WordLevel");
        vocabulary.Write(json);
        json.WriteString("unk_token", unknownToken);
        json.WriteEndObject();
    }
}

/// <summary>WordPiece (Schuster and Nakajima 2012): the longest token first, with a mark on those inside a word.</summary>
internal sealed class WordPieceModel(Vocabulary vocabulary, string unknownToken, string continuingPrefix, int longestWord) : ITokenModel
{
    private readonly int unknownId = vocabulary.IdOf(unknownToken) ?? -1;
    private readonly int longestToken = LongestSpelling(vocabulary);

    public Vocabulary Vocabulary => vocabulary;

    public void Tokenize(in TextPiece piece, TokenBuffer output)
    {
        int first = output.Count;
        if (CharacterCount(piece.Chars) <= longestWord && TrySplit(piece, output))
            return;
        output.TakeBack(first);
        if (unknownId >= 0)
            output.Add(unknownId, piece, 0, piece.Length);
        else
            output.NoteUncovered(piece.Chars);
    }

    private bool TrySplit(in TextPiece piece, TokenBuffer output)
    {
        var text = piece.Chars;
        Span<char> marked = new char[continuingPrefix.Length + Math.Min(text.Length, longestToken)];
        continuingPrefix.CopyTo(marked);
        for (int start = 0, end; start < text.Length; start = end)
        {
            end = Math.Min(text.Length, start + longestToken);
            int id;
            while (!TryGet(text[start..end], start > 0, marked, out id))
            {
                end -= end - start > 1 && char.IsLowSurrogate(text[end - 1]) ? 2 : 1;
                if (end <= start)
                    return false;
            }
            output.Add(id, piece, start, end);
        }
        return true;
    }

    private bool TryGet(ReadOnlySpan<char> part, bool inside, Span<char> marked, out int id)
    {
        if (!inside)
            return vocabulary.TryGetTextId(part, out id);
        part.CopyTo(marked[continuingPrefix.Length..]);
        return vocabulary.TryGetTextId(marked[..(continuingPrefix.Length + part.Length)], out id);
    }

    private static int CharacterCount(ReadOnlySpan<char> text)
    {
        int count = 0;
        foreach (var _ in text.EnumerateRunes())
            count++;
        return count;
    }

    private static int LongestSpelling(Vocabulary vocabulary)
    {
        int longest = 1;
        for (int id = 0; id < vocabulary.Size; id++)
            longest = Math.Max(longest, vocabulary.TokenOf(id)?.Length ?? 0);
        return longest;
    }

    public void Write(Utf8JsonWriter json)
    {
        json.WriteStartObject();
        json.WriteString("type", "WordPiece");
        json.WriteString("unk_token", unknownToken);
        json.WriteString("continuing_subword_prefix", continuingPrefix);
        json.WriteNumber("max_input_chars_per_word", longestWord);
        vocabulary.Write(json);
        json.WriteEndObject();
    }
}
