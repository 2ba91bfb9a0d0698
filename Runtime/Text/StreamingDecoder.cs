using System.Text;
using Legato.Runtime.Text.Pipeline;

namespace Legato.Runtime.Text;

/// <summary>
/// Turns ids that arrive one by one into text. What it has given never changes, it never gives a part of a character,
/// and all that it gives together is what <see cref="Tokenizer.Decode"/> gives for the whole row; behind other ids, what it gives
/// for both without theirs.
/// </summary>
public sealed class StreamingDecoder
{
    // Decoders look at a token's neighbours but not beyond a few of them; held text is decoded anew behind this many.
    private const int Context = 8;

    private readonly TokenDecoder decoder;
    private readonly bool keepSpecial;
    private readonly Decoder utf8 = Encoding.UTF8.GetDecoder();
    private readonly List<int> window = [];
    private string given = "";

    internal StreamingDecoder(TokenDecoder decoder, bool keepSpecial, ReadOnlySpan<int> behind)
    {
        this.decoder = decoder;
        this.keepSpecial = keepSpecial;
        if (!decoder.IsByteLevel)
            GoOn(behind);
    }

    // A run of bytes counts as a whole: one that these ids end in is given already, and no part of the run that comes. Models
    // know of ids that have no token, where their vocabulary is padded.
    private void GoOn(ReadOnlySpan<int> behind)
    {
        for (int i = behind.Length - 1; i >= 0 && window.Count < Context; i--)
            if (decoder.SpellingOf(behind[i]) is not null && !decoder.IsLeftOut(behind[i], keepSpecial) && (window.Count > 0 || !decoder.IsOpen(behind[i])))
                window.Insert(0, behind[i]);
        given = Decode();
    }

    /// <summary>Takes the next id and gives the text that is now certain; often a word, sometimes nothing.</summary>
    public string Add(int id) => decoder.IsByteLevel ? AddBytes(decoder.BytesOf(id, keepSpecial), false) : AddToWindow(id);

    /// <summary>Ends the row: gives what was held back, with U+FFFD for characters that never became whole.</summary>
    public string Finish()
    {
        string rest = decoder.IsByteLevel ? AddBytes([], true) : Decode()[given.Length..];
        window.Clear();
        given = "";
        return rest;
    }

    private string AddBytes(ReadOnlySpan<byte> bytes, bool flush)
    {
        Span<char> text = new char[utf8.GetCharCount(bytes, flush)];
        return text[..utf8.GetChars(bytes, text, flush)].ToString();
    }

    private string AddToWindow(int id)
    {
        if (decoder.IsLeftOut(id, keepSpecial))
            return "";
        window.Add(id);
        if (decoder.IsOpen(id))
            return "";
        string text = Decode();
        // A trailing replacement character may be the beginning of a character, and trailing space may yet be cleaned up.
        int certain = text.Length;
        while (certain > given.Length && text[certain - 1] == '\uFFFD')
            certain--;
        if (!text.StartsWith(given, StringComparison.Ordinal) || certain < text.Length)
            return "";
        string fresh = text[given.Length..];
        given = text;
        Trim();
        return fresh;
    }

    private string Decode() => decoder.Decode(System.Runtime.InteropServices.CollectionsMarshal.AsSpan(window), keepSpecial);

    // Once everything is given, old ids serve only as context.
    private void Trim()
    {
        if (window.Count <= 4 * Context)
            return;
        string whole = given;
        window.RemoveRange(0, window.Count - Context);
        string shorter = Decode();
        given = whole.EndsWith(shorter, StringComparison.Ordinal) ? shorter : Decode();
    }
}
