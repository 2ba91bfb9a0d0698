using System.Buffers;
using System.Text;

namespace Legato.Runtime.Text.Chat;

/// <summary>
/// Keeps the spellings of special tokens that stand in a user's text apart from those that a template writes. Before
/// rendering they are replaced by marks that no text has (noncharacters of Unicode around a number); afterwards they
/// are put back, and the ranges where they stand are known to be text.
/// </summary>
internal sealed class LiteralText
{
    private const char Open = '\uFDD0', Close = '\uFDD1';
    private const char FirstDigit = '\uE000';
    private const int Base = 4096;

    private readonly List<string> spellings;
    private readonly SearchValues<string> search;

    public LiteralText(IEnumerable<AddedToken> tokens)
    {
        // Longer ones first, so that each place is taken by the longest; a mark in the text is kept apart too.
        spellings = [.. tokens.Where(token => token.Special && token.Content.Length > 0)
            .Select(token => token.Content).Append(Open.ToString()).Distinct().OrderByDescending(text => text.Length)];
        search = SearchValues.Create([.. spellings], StringComparison.Ordinal);
    }

    /// <summary>A text with marks in the place of special tokens.</summary>
    public string Hide(string text)
    {
        if (text.AsSpan().IndexOfAny(search) < 0)
            return text;
        var hidden = new StringBuilder(text.Length);
        for (int at = 0; at < text.Length;)
        {
            int found = text.AsSpan(at).IndexOfAny(search);
            if (found < 0)
                return hidden.Append(text, at, text.Length - at).ToString();
            hidden.Append(text, at, found);
            at += found;
            int index = spellings.FindIndex(spelling => string.CompareOrdinal(text, at, spelling, 0, spelling.Length) == 0);
            hidden.Append(Open).Append((char)(FirstDigit + index / Base)).Append((char)(FirstDigit + index % Base)).Append(Close);
            at += spellings[index].Length;
        }
        return hidden.ToString();
    }

    /// <summary>Puts the special tokens back into a rendered text.</summary>
    /// <param name="literal">Where they stand.</param>
    /// <param name="spans">Ranges of the rendered text, moved along.</param>
    public string Restore(string rendered, List<TextSpan> literal, ref IReadOnlyList<TextSpan> spans)
    {
        if (!rendered.Contains(Open))
            return rendered;
        var text = new StringBuilder(rendered.Length);
        var moved = new int[rendered.Length + 1];
        for (int at = 0; at < rendered.Length;)
        {
            moved[at] = text.Length;
            if (!TryReadMark(rendered, at, out string spelling))
            {
                text.Append(rendered[at++]);
                continue;
            }
            literal.Add(new TextSpan(text.Length, text.Length + spelling.Length));
            moved.AsSpan(at, 4).Fill(text.Length);
            text.Append(spelling);
            at += 4;
        }
        moved[rendered.Length] = text.Length;
        spans = [.. spans.Select(span => new TextSpan(moved[span.Start], moved[span.End]))];
        return text.ToString();
    }

    private bool TryReadMark(string text, int at, out string spelling)
    {
        spelling = "";
        if (text[at] != Open || at + 3 >= text.Length || text[at + 3] != Close)
            return false;
        int index = (text[at + 1] - FirstDigit) * Base + (text[at + 2] - FirstDigit);
        if ((uint)index >= (uint)spellings.Count)
            return false;
        spelling = spellings[index];
        return true;
    }
}
