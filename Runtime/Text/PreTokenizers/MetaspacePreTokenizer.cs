using System.Text.Json;
using Legato.Runtime.Text.Pipeline;

namespace Legato.Runtime.Text.PreTokenizers;

/// <summary>When a mark is put before a text that doesn't start with one.</summary>
internal enum PrependScheme
{
    Always,
    First,
    Never,
}

/// <summary>Spaces become a visible mark, before which words are split.</summary>
internal sealed class MetaspacePreTokenizer(string replacement, PrependScheme scheme, bool split) : IPreTokenizer
{
    private readonly TextPattern mark = TextPattern.Literal(replacement);

    public void Split(List<TextPiece> input, List<TextPiece> output)
    {
        var stretches = new List<Stretch>();
        foreach (var piece in input)
        {
            var marked = Mark(piece);
            if (!split)
            {
                output.Add(marked);
                continue;
            }
            stretches.Clear();
            mark.Find(marked.Chars, stretches);
            Splitting.Cut(marked, stretches, SplitBehaviour.MergedWithNext, output);
        }
    }

    private TextPiece Mark(in TextPiece piece)
    {
        if (piece.Length == 0)
            return piece;
        var builder = new AlignedTextBuilder(piece.Length + 1);
        bool startsMarked = piece.Chars[0] == ' ' || piece.Chars.StartsWith(replacement, StringComparison.Ordinal);
        if (!startsMarked && (scheme == PrependScheme.Always || scheme == PrependScheme.First && piece.SourceOf(0, 1).Start == 0))
            builder.Append(replacement, piece.Text.SourceOf(piece.Start));
        for (int i = 0; i < piece.Length; i++)
        {
            var source = piece.Text.SourceOf(piece.Start + i);
            if (piece.Chars[i] == ' ')
                builder.Append(replacement, source);
            else
                builder.Append(piece.Chars[i], source);
        }
        return TextPiece.Whole(builder.Build());
    }

    public void Write(Utf8JsonWriter json)
    {
        json.WriteStartObject();
        json.WriteString("type", "Metaspace");
        json.WriteString("replacement", replacement);
        json.WriteString("prepend_scheme", scheme.ToString().ToLowerInvariant());
        json.WriteBoolean("split", split);
        json.WriteEndObject();
    }
}
