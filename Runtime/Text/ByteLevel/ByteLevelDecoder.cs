using System.Text;
using System.Text.Json;
using Legato.Runtime.Text.Models;
using Legato.Runtime.Text.Pipeline;

namespace Legato.Runtime.Text.ByteLevel;

/// <summary>Spellings over <see cref="ByteAlphabet"/> back to text.</summary>
internal sealed class ByteLevelDecoder(bool addPrefixSpace, bool trimOffsets, bool useRegex) : ITokenDecoder
{
    public List<string> Decode(List<string> tokens)
    {
        var bytes = new List<byte>();
        foreach (string token in tokens)
            bytes.AddRange(BytesOf(token));
        return [Encoding.UTF8.GetString([.. bytes])];
    }

    /// <summary>A token's bytes; a spelling outside the alphabet (an added token) is its own text.</summary>
    public static byte[] BytesOf(string token) => ByteAlphabet.BytesOf(token) ?? Encoding.UTF8.GetBytes(token);

    public void Write(Utf8JsonWriter json)
    {
        json.WriteStartObject();
        json.WriteString("type", "ByteLevel");
        json.WriteBoolean("add_prefix_space", addPrefixSpace);
        json.WriteBoolean("trim_offsets", trimOffsets);
        json.WriteBoolean("use_regex", useRegex);
        json.WriteEndObject();
    }
}
