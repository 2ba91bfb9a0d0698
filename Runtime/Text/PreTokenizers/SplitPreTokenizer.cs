using System.Text.Json;
using Legato.Runtime.Text.Pipeline;

namespace Legato.Runtime.Text.PreTokenizers;

/// <summary>Splits by a string or a regular expression.</summary>
internal sealed class SplitPreTokenizer(TextPattern pattern, SplitBehaviour behaviour, bool invert) : IPreTokenizer
{
    public TextPattern Pattern { get; } = pattern;

    /// <summary>True when every piece is a match or what is between matches, whatever those are.</summary>
    public bool KeepsAll { get; } = behaviour == SplitBehaviour.Isolated || behaviour == SplitBehaviour.Removed && invert;

    public void Split(List<TextPiece> input, List<TextPiece> output)
    {
        var stretches = new List<Stretch>();
        foreach (var piece in input)
        {
            stretches.Clear();
            Pattern.Find(piece.Chars, stretches);
            if (invert)
                for (int i = 0; i < stretches.Count; i++)
                    stretches[i] = stretches[i] with { IsMatch = !stretches[i].IsMatch };
            Splitting.Cut(piece, stretches, behaviour, output);
        }
    }

    public void Write(Utf8JsonWriter json)
    {
        json.WriteStartObject();
        json.WriteString("type", "Split");
        Pattern.Write(json);
        json.WriteString("behavior", behaviour.ToString());
        json.WriteBoolean("invert", invert);
        json.WriteEndObject();
    }
}
