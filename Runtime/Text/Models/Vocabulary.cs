using System.Text.Json;

namespace Legato.Runtime.Text;

/// <summary>Tokens and their ids, both ways. Ids may have gaps.</summary>
internal sealed class Vocabulary
{
    // A vocabulary with far more ids than tokens is damaged, and would cost memory for nothing.
    private const int MaximumGap = 1 << 20;

    private readonly string?[] tokens;
    private readonly Dictionary<string, int> ids;
    private readonly Dictionary<string, int>.AlternateLookup<ReadOnlySpan<char>> bySpan;
    private readonly HashSet<int> reserved = [];

    /// <param name="entries">Tokens with their ids. When a token has two ids, the last one is used to encode.</param>
    /// <param name="where">Where the entries come from, for error messages.</param>
    public Vocabulary(IReadOnlyList<KeyValuePair<string, int>> entries, string where)
    {
        int size = 0;
        foreach (var (token, id) in entries)
        {
            if (id < 0 || id > entries.Count + MaximumGap)
                throw new LegatoException($"the id {id} of token '{token}' is out of range", where,
                    "ids must be consecutive or nearly so");
            size = Math.Max(size, id + 1);
        }
        tokens = new string?[size];
        ids = new Dictionary<string, int>(entries.Count, StringComparer.Ordinal);
        foreach (var (token, id) in entries)
        {
            tokens[id] = token;
            ids[token] = id;
        }
        bySpan = ids.GetAlternateLookup<ReadOnlySpan<char>>();
    }

    /// <summary>One more than the largest id.</summary>
    public int Size => tokens.Length;

    /// <summary>The number of different spellings.</summary>
    public int Count => ids.Count;

    public string? TokenOf(int id) => (uint)id < (uint)tokens.Length ? tokens[id] : null;

    public bool TryGetId(string token, out int id) => ids.TryGetValue(token, out id);

    public bool TryGetId(ReadOnlySpan<char> token, out int id) => bySpan.TryGetValue(token, out id);

    /// <summary>
    /// As <see cref="TryGetId(ReadOnlySpan{char}, out int)"/> for text: the spelling of a reserved token is no token.
    /// </summary>
    public bool TryGetTextId(ReadOnlySpan<char> text, out int id) => bySpan.TryGetValue(text, out id) && !IsReserved(id);

    /// <summary>True for tokens that text never becomes by itself: the special ones.</summary>
    public bool IsReserved(int id) => reserved.Contains(id);

    /// <summary>Reserves special tokens. One of a single character may be an ordinary symbol too, and stays.</summary>
    public void Reserve(IEnumerable<AddedToken> tokens)
    {
        foreach (var token in tokens)
            if (token.Special && token.Content.Length > 1 && ids.TryGetValue(token.Content, out int id))
                reserved.Add(id);
    }

    public int? IdOf(string? token) => token is not null && ids.TryGetValue(token, out int id) ? id : null;

    /// <summary>Writes the member "vocab", ordered by id.</summary>
    public void Write(Utf8JsonWriter json)
    {
        json.WriteStartObject("vocab");
        for (int id = 0; id < tokens.Length; id++)
            if (tokens[id] is { } token && ids[token] == id)
                json.WriteNumber(token, id);
        json.WriteEndObject();
    }

    /// <summary>A vocabulary whose ids are positions in a list.</summary>
    public static Vocabulary FromList(IReadOnlyList<string> tokens, string where)
    {
        var entries = new KeyValuePair<string, int>[tokens.Count];
        for (int i = 0; i < entries.Length; i++)
            entries[i] = new(tokens[i], i);
        return new Vocabulary(entries, where);
    }
}
