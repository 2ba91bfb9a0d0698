using System.Text;
using System.Text.Json;
using Legato.Runtime.Text.Pipeline;
using Legato.Runtime.Text.PreTokenizers;

namespace Legato.Runtime.Text.Decoders;

/// <summary>
/// Decodes as SentencePiece does: the space that normalization put first goes, unknown tokens show as a surface
/// string, and byte tokens become characters one by one. Written as the nearest chain that tokenizer.json has.
/// </summary>
internal sealed class SentencePieceDecoder(string? unknownToken, string unknownSurface, bool dummyPrefix, bool removeExtraSpaces)
    : ITokenDecoder
{
    private const char Mark = '\u2581';

    public List<string> Decode(List<string> tokens)
    {
        var text = new StringBuilder();
        var bytes = new List<byte>();
        bool expectsMark = dummyPrefix || removeExtraSpaces;
        foreach (string token in tokens)
        {
            if (ByteFallbackDecoder.TryReadByte(token, out byte value))
            {
                bytes.Add(value);
                continue;
            }
            text.Append(Encoding.UTF8.GetString([.. bytes]));
            bytes.Clear();
            expectsMark &= text.Length == 0;
            text.Append(TextOf(token, ref expectsMark));
        }
        text.Append(Encoding.UTF8.GetString([.. bytes]));
        return [text.ToString()];
    }

    private string TextOf(string token, ref bool expectsMark)
    {
        if (token == unknownToken)
            return unknownSurface;
        int start = 0;
        if (expectsMark && token[0] == Mark)
        {
            start = 1;
            // Where extra spaces were removed, every mark before the first text is one that was put there.
            expectsMark = removeExtraSpaces;
        }
        return token[start..].Replace(Mark, ' ');
    }

    public void Write(Utf8JsonWriter json)
    {
        var stages = new List<ITokenDecoder>
        {
            new ReplaceDecoder(TextPattern.Literal(Mark.ToString()), " "), new ByteFallbackDecoder(), new FuseDecoder(),
        };
        if (dummyPrefix || removeExtraSpaces)
            stages.Add(new StripDecoder(new Rune(' '), 1, 0));
        new SequenceDecoder(stages).Write(json);
    }
}
