using System.Text;

namespace Legato.Runtime.Text.Formats;

/// <summary>The metadata of a GGUF file whose keys begin with "tokenizer."; tensors aren't touched.</summary>
internal sealed class GgufMetadata
{
    private const uint Magic = 0x46554747;
    private const int MaximumDepth = 4;

    private readonly Dictionary<string, object> values = new(StringComparer.Ordinal);
    private readonly BinaryReader reader;
    private readonly string where;

    private GgufMetadata(Stream stream, string where)
    {
        this.where = where;
        reader = new BinaryReader(stream, Encoding.UTF8, leaveOpen: true);
    }

    /// <summary>Reads the head of a file.</summary>
    public static GgufMetadata Read(Stream stream, string where)
    {
        var metadata = new GgufMetadata(stream, where);
        try
        {
            metadata.ReadAll();
        }
        catch (EndOfStreamException error)
        {
            throw new LegatoException("the GGUF file ends too early", where, "check that the file was copied whole", error);
        }
        return metadata;
    }

    public string? Text(string key) => Value<string>(key);

    public bool? Flag(string key) => values.TryGetValue(key, out object? value) ? value as bool? ?? throw Wrong(key) : null;

    public int? Id(string key) => values.TryGetValue(key, out object? value) ? value switch
    {
        long number and >= 0 and < 1 << 24 => (int)number,
        ulong number and < 1 << 24 => (int)number,
        // Some writers give -1, as an unsigned number too, for a token that isn't there.
        long or ulong => null,
        _ => throw Wrong(key),
    } : null;

    public string[]? Texts(string key) => Value<object[]>(key) is { } items
        ? Array.ConvertAll(items, item => item as string ?? throw Wrong(key))
        : null;

    public float[]? Floats(string key) => Value<object[]>(key) is { } items
        ? Array.ConvertAll(items, item => item is double number ? (float)number : throw Wrong(key))
        : null;

    public int[]? Ints(string key) => Value<object[]>(key) is { } items
        ? Array.ConvertAll(items, item => item is long number ? (int)number : item is ulong large ? (int)large : throw Wrong(key))
        : null;

    public byte[]? Bytes(string key) => Ints(key) is { } numbers ? Array.ConvertAll(numbers, number => (byte)number) : null;

    private T? Value<T>(string key) where T : class =>
        values.TryGetValue(key, out object? value) ? value as T ?? throw Wrong(key) : null;

    private void ReadAll()
    {
        if (reader.ReadUInt32() != Magic)
            throw Damaged("has no GGUF mark");
        uint version = reader.ReadUInt32();
        if (version is not (2 or 3))
            throw Damaged($"has the version {version}; Legato reads 2 and 3");
        reader.ReadUInt64();
        ulong count = reader.ReadUInt64();
        for (ulong i = 0; i < count; i++)
        {
            string key = ReadText();
            uint type = reader.ReadUInt32();
            if (key.StartsWith("tokenizer.", StringComparison.Ordinal))
                values[key] = ReadValue(type, 0);
            else
                SkipValue(type, 0);
        }
    }

    private object ReadValue(uint type, int depth) => type switch
    {
        0 => (ulong)reader.ReadByte(),
        1 => (long)reader.ReadSByte(),
        2 => (ulong)reader.ReadUInt16(),
        3 => (long)reader.ReadInt16(),
        4 => (ulong)reader.ReadUInt32(),
        5 => (long)reader.ReadInt32(),
        6 => (double)reader.ReadSingle(),
        7 => reader.ReadByte() != 0,
        8 => ReadText(),
        9 when depth < MaximumDepth => ReadArray(depth),
        10 => reader.ReadUInt64(),
        11 => reader.ReadInt64(),
        12 => reader.ReadDouble(),
        _ => throw Damaged($"has a value of the unknown type {type}"),
    };

    private object[] ReadArray(int depth)
    {
        uint type = reader.ReadUInt32();
        var items = new object[Length(reader.ReadUInt64(), SizeOf(type))];
        for (int i = 0; i < items.Length; i++)
            items[i] = ReadValue(type, depth + 1);
        return items;
    }

    private void SkipValue(uint type, int depth)
    {
        switch (type)
        {
            case 8: Skip(Length(reader.ReadUInt64(), 1)); break;
            case 9 when depth < MaximumDepth: SkipArray(depth); break;
            case <= 12 and not 9: Skip(SizeOf(type)); break;
            default: throw Damaged($"has a value of the unknown type {type}");
        }
    }

    private void SkipArray(int depth)
    {
        uint type = reader.ReadUInt32();
        int count = Length(reader.ReadUInt64(), SizeOf(type));
        if (type is not (8 or 9))
        {
            Skip((long)count * SizeOf(type));
            return;
        }
        for (int i = 0; i < count; i++)
            SkipValue(type, depth + 1);
    }

    private void Skip(long bytes)
    {
        if (bytes > reader.BaseStream.Length - reader.BaseStream.Position)
            throw Damaged("ends too early");
        reader.BaseStream.Seek(bytes, SeekOrigin.Current);
    }

    private string ReadText()
    {
        byte[] bytes = reader.ReadBytes(Length(reader.ReadUInt64(), 1));
        return Encoding.UTF8.GetString(bytes);
    }

    // A count can't be larger than what is left of the file holds.
    private int Length(ulong count, int size)
    {
        long left = reader.BaseStream.Length - reader.BaseStream.Position;
        return count <= (ulong)(left / size) && count <= int.MaxValue ? (int)count : throw Damaged("names a length beyond its end");
    }

    private static int SizeOf(uint type) => type switch
    {
        0 or 1 or 7 => 1,
        2 or 3 => 2,
        10 or 11 or 12 or 8 => 8,
        9 => 12,
        _ => 4,
    };

    private LegatoException Damaged(string what) => new("the GGUF file " + what, where, "check that the file was copied whole");

    private LegatoException Wrong(string key) => new($"the value of '{key}' is of the wrong type", where, "see GGUF's list of keys");
}
