namespace Legato.Runtime.Checkpoints;

/// <summary>
/// What a GGUF file says of its model and its tokenizer (versions 2 and 3 of the format), by key. Values stay in the
/// file until they are asked for.
/// </summary>
public sealed class GgufMetadata
{
    private const uint Magic = 0x46554747;

    // A tensor's name, its number of axes, its type and its place.
    private const int SmallestTensor = 24;

    // A key's length, a value's type and a byte.
    private const int SmallestEntry = 13;

    private readonly MappedFile file;
    private readonly Dictionary<string, (GgufType Type, long Place)> values = new(StringComparer.Ordinal);

    /// <exception cref="LegatoException">The file is no GGUF file, or a damaged one.</exception>
    internal GgufMetadata(MappedFile file)
    {
        this.file = file;
        var reader = new GgufReader(file, 0);
        if (reader.UInt32() != Magic)
            throw reader.Damaged("has no GGUF mark");
        uint version = reader.UInt32();
        if (version is not (2 or 3))
            throw reader.Damaged($"has the version {version}; Legato reads 2 and 3");
        TensorCount = reader.Length(SmallestTensor);
        for (int left = reader.Length(SmallestEntry); left > 0; left--)
        {
            string key = reader.Text();
            GgufType type = reader.Type();
            if (!values.TryAdd(key, (type, reader.Position)))
                throw reader.Damaged($"gives '{key}' twice");
            reader.Skip(type);
        }
        End = reader.Position;
    }

    public IEnumerable<string> Keys => values.Keys;

    internal int TensorCount { get; }

    /// <summary>The byte after the last value.</summary>
    internal long End { get; }

    /// <summary>A number, a flag or a text: long, ulong, double, bool or string; null where there is none or an array.</summary>
    public object? Scalar(string key) =>
        values.TryGetValue(key, out var value) && value.Type != GgufType.Array ? new GgufReader(file, value.Place).Scalar(value.Type) : null;

    /// <exception cref="LegatoException">The value is no text.</exception>
    public string? Text(string key) => values.ContainsKey(key) ? Scalar(key) as string ?? throw Wrong(key) : null;

    /// <exception cref="LegatoException">The value is no flag.</exception>
    public bool? Flag(string key) => values.ContainsKey(key) ? Scalar(key) as bool? ?? throw Wrong(key) : null;

    /// <summary>A token's number.</summary>
    /// <exception cref="LegatoException">The value is no whole number.</exception>
    public int? Id(string key) => !values.ContainsKey(key) ? null : Scalar(key) switch
    {
        long number and >= 0 and < 1 << 24 => (int)number,
        ulong number and < 1 << 24 => (int)number,
        // Some writers give -1, as an unsigned number too, for a token that isn't there.
        long or ulong => null,
        _ => throw Wrong(key),
    };

    /// <exception cref="LegatoException">The value is no array of texts.</exception>
    public string[]? Texts(string key) => Items<string>(key, value => value as string);

    /// <exception cref="LegatoException">The value is no array of numbers.</exception>
    public float[]? Floats(string key) => Items<float>(key, value => value is double number ? (float)number : null);

    /// <exception cref="LegatoException">The value is no array of whole numbers.</exception>
    public int[]? Ints(string key) => Items<int>(key, value => value is long number ? (int)number : value is ulong large ? (int)large : null);

    /// <exception cref="LegatoException">The value is no array of whole numbers.</exception>
    public byte[]? Bytes(string key) => Ints(key) is { } numbers ? Array.ConvertAll(numbers, number => (byte)number) : null;

    private T[]? Items<T>(string key, Func<object, object?> convert)
    {
        if (!values.TryGetValue(key, out var value))
            return null;
        if (value.Type != GgufType.Array)
            throw Wrong(key);
        var reader = new GgufReader(file, value.Place);
        GgufType type = reader.Type();
        if (type == GgufType.Array)
            throw Wrong(key);
        var items = new T[reader.Length(GgufReader.SmallestSize(type))];
        for (int i = 0; i < items.Length; i++)
            items[i] = (T)(convert(reader.Scalar(type)) ?? throw Wrong(key));
        return items;
    }

    private LegatoException Wrong(string key) => new($"the value of '{key}' is of the wrong type", file.Path, "see GGUF's list of keys");
}
