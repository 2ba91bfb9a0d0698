using System.Text.Json;
using Legato.Runtime.Text.Pipeline;
using Legato.Runtime.Text.PreTokenizers;

namespace Legato.Runtime.Text.Normalizers;

/// <summary>Replaces what a pattern matches.</summary>
internal sealed class ReplaceNormalizer(TextPattern pattern, string content) : INormalizer
{
    public AlignedText Normalize(AlignedText text)
    {
        var stretches = new List<Stretch>();
        pattern.Find(text.Chars, stretches);
        var builder = new AlignedTextBuilder(text.Length);
        foreach (var stretch in stretches)
        {
            if (stretch.IsMatch)
                builder.Append(content, text.SourceOf(stretch.End - 1));
            else
                builder.Append(text, stretch.Start, stretch.End);
        }
        return builder.Build();
    }

    public void Write(Utf8JsonWriter json)
    {
        json.WriteStartObject();
        json.WriteString("type", "Replace");
        pattern.Write(json);
        json.WriteString("content", content);
        json.WriteEndObject();
    }
}

/// <summary>Puts a string before a text that isn't empty.</summary>
internal sealed class PrependNormalizer(string prefix) : INormalizer
{
    public AlignedText Normalize(AlignedText text)
    {
        if (text.Length == 0)
            return text;
        var builder = new AlignedTextBuilder(text.Length + prefix.Length);
        builder.Append(prefix, text.SourceOf(0));
        builder.Append(text, 0, text.Length);
        return builder.Build();
    }

    public void Write(Utf8JsonWriter json)
    {
        json.WriteStartObject();
        json.WriteString("type", "Prepend");
        json.WriteString("prepend", prefix);
        json.WriteEndObject();
    }
}

/// <summary>
/// Puts a string behind a text that isn't empty. Written as what tokenizer.json has for it: the replacement of the end.
/// </summary>
internal sealed class AppendNormalizer(string suffix) : INormalizer
{
    /// <summary>The regular expression of a text's end.</summary>
    public const string End = @"\z";

    public AlignedText Normalize(AlignedText text)
    {
        if (text.Length == 0)
            return text;
        var builder = new AlignedTextBuilder(text.Length + suffix.Length);
        builder.Append(text, 0, text.Length);
        builder.Append(suffix, text.SourceOf(text.Length - 1));
        return builder.Build();
    }

    public void Write(Utf8JsonWriter json) => new ReplaceNormalizer(TextPattern.Regex(End), suffix).Write(json);
}

/// <summary>Takes white space off the ends.</summary>
internal sealed class StripNormalizer(bool left, bool right) : INormalizer
{
    public AlignedText Normalize(AlignedText text)
    {
        int start = 0, end = text.Length;
        while (left && start < end && char.IsWhiteSpace(text.Chars[start]))
            start++;
        while (right && end > start && char.IsWhiteSpace(text.Chars[end - 1]))
            end--;
        var builder = new AlignedTextBuilder(end - start);
        builder.Append(text, start, end);
        return builder.Build();
    }

    public void Write(Utf8JsonWriter json)
    {
        json.WriteStartObject();
        json.WriteString("type", "Strip");
        json.WriteBoolean("strip_left", left);
        json.WriteBoolean("strip_right", right);
        json.WriteEndObject();
    }
}

/// <summary>One normalizer after the other.</summary>
internal sealed class SequenceNormalizer(IReadOnlyList<INormalizer> stages) : INormalizer
{
    /// <summary>The same sequence with each stage changed.</summary>
    public SequenceNormalizer Rewrite(Func<INormalizer, INormalizer> change) => new([.. stages.Select(change)]);

    public AlignedText Normalize(AlignedText text)
    {
        foreach (var stage in stages)
            text = stage.Normalize(text);
        return text;
    }

    public void Write(Utf8JsonWriter json)
    {
        json.WriteStartObject();
        json.WriteString("type", "Sequence");
        json.WriteStartArray("normalizers");
        foreach (var stage in stages)
            stage.Write(json);
        json.WriteEndArray();
        json.WriteEndObject();
    }
}
