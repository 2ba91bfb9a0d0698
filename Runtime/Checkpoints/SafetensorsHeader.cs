using System.Buffers.Binary;
using System.Text.Json;

namespace Legato.Runtime.Checkpoints;

/// <summary>
/// The header of a safetensors file: eight bytes of length, then JSON that gives each tensor's type, shape and place.
/// Everything is checked before it is believed, and memory use stays within a small multiple of the header's size.
/// </summary>
internal static class SafetensorsHeader
{
    /// <summary>The format's own limit on the header, in bytes.</summary>
    private const long Longest = 100_000_000;

    private const int MostAxes = 32;

    private const string Remedy = "fetch or write the file anew";

    /// <exception cref="LegatoException">The file is no safetensors file, or a damaged one.</exception>
    public static (List<TensorInfo> Tensors, Dictionary<string, string> Metadata) Read(MappedFile file)
    {
        if (file.Length < 8)
            throw Damaged(file.Path, $"the file has {Counted.Of(file.Length, "byte")}, too few for a safetensors file");
        ulong length = BinaryPrimitives.ReadUInt64LittleEndian(file.Span(0, 8));
        if (length > Longest)
            throw Damaged(file.Path, $"the header would have {length} bytes; this is no safetensors file");
        if ((long)length > file.Length - 8)
            throw Damaged(file.Path, $"the file is cut off: its header has {length} bytes, the file has {file.Length}");

        var tensors = new List<TensorInfo>();
        var metadata = new Dictionary<string, string>();
        try
        {
            var json = new Utf8JsonReader(file.Span(8, (int)length), new JsonReaderOptions { MaxDepth = 8 });
            ReadObject(ref json, file.Path, 8 + (long)length, tensors, metadata);
            while (json.Read())
            {
            }
        }
        catch (Exception e) when (e is JsonException or InvalidOperationException)
        {
            // What this class itself has found lacks a place.
            string what = e is JsonException { BytePositionInLine: { } place } ? $"it is no JSON from byte {8 + place} on" : e.Message;
            throw new LegatoException($"the header of the safetensors file is damaged: {what}", file.Path, Remedy, e);
        }
        CheckPlaces(file, 8 + (long)length, tensors);
        return (tensors, metadata);
    }

    private static void ReadObject(
        ref Utf8JsonReader json, string path, long data, List<TensorInfo> tensors, Dictionary<string, string> metadata)
    {
        var names = new HashSet<string>(StringComparer.Ordinal);
        Expect(ref json, JsonTokenType.StartObject);
        while (json.Read() && json.TokenType == JsonTokenType.PropertyName)
        {
            string name = json.GetString()!;
            if (!names.Add(name))
                throw Damaged(path, $"the header names '{name}' twice");
            if (name == "__metadata__")
                ReadMetadata(ref json, metadata);
            else
                tensors.Add(ReadTensor(ref json, name, path, data));
        }
    }

    private static void ReadMetadata(ref Utf8JsonReader json, Dictionary<string, string> metadata)
    {
        Expect(ref json, JsonTokenType.StartObject);
        while (json.Read() && json.TokenType == JsonTokenType.PropertyName)
        {
            string key = json.GetString()!;
            Expect(ref json, JsonTokenType.String);
            metadata[key] = json.GetString()!;
        }
    }

    private static TensorInfo ReadTensor(ref Utf8JsonReader json, string name, string path, long data)
    {
        string? type = null;
        List<long>? shape = null;
        List<long>? place = null;
        Expect(ref json, JsonTokenType.StartObject);
        while (json.Read() && json.TokenType == JsonTokenType.PropertyName)
        {
            string key = json.GetString()!;
            switch (key)
            {
                case "dtype":
                    Expect(ref json, JsonTokenType.String);
                    type = json.GetString();
                    break;
                case "shape":
                    shape = ReadNumbers(ref json);
                    break;
                case "data_offsets":
                    place = ReadNumbers(ref json);
                    break;
                default:
                    throw new JsonException($"tensor '{name}' has the unknown property '{key}'");
            }
        }
        if (type is null || shape is null || place is not { Count: 2 })
            throw new JsonException($"tensor '{name}' lacks its dtype, shape or two data_offsets");
        TensorType element = TensorTypes.FromFormatName(type)
            ?? throw new LegatoException(
                $"tensor '{name}' has the element type {type}, which Legato doesn't read", path,
                "convert the checkpoint to F32, BF16 or F16");
        return new TensorInfo(name, element, shape.ToArray(), CheckedSum(data, place[0], name), Bytes(name, element, shape, place));
    }

    private static long Bytes(string name, TensorType type, List<long> shape, List<long> place)
    {
        long bytes = type.BlockBytes();
        foreach (long size in shape)
            if (Math.BigMul(bytes, size, out bytes) != 0 || bytes < 0)
                throw new JsonException($"tensor '{name}' is larger than any file");
        if (place[1] - place[0] != bytes)
            throw new JsonException($"tensor '{name}' of shape [{string.Join(", ", shape)}] needs {bytes} bytes and has {place[1] - place[0]}");
        return bytes;
    }

    private static long CheckedSum(long a, long b, string name) =>
        b <= long.MaxValue - a ? a + b : throw new JsonException($"tensor '{name}' lies beyond any file");

    private static List<long> ReadNumbers(ref Utf8JsonReader json)
    {
        Expect(ref json, JsonTokenType.StartArray);
        var numbers = new List<long>(4);
        while (json.Read() && json.TokenType == JsonTokenType.Number)
        {
            if (!json.TryGetInt64(out long number) || number < 0 || numbers.Count == MostAxes)
                throw new JsonException("a shape or an offset is no list of sizes");
            numbers.Add(number);
        }
        return json.TokenType == JsonTokenType.EndArray ? numbers : throw new JsonException("a shape or an offset is no list of sizes");
    }

    // The format allows neither holes nor overlaps: in order of place, each tensor starts where the one before ends.
    private static void CheckPlaces(MappedFile file, long data, List<TensorInfo> tensors)
    {
        tensors.Sort((a, b) => a.Offset != b.Offset ? a.Offset.CompareTo(b.Offset) : a.Bytes.CompareTo(b.Bytes));
        long end = data;
        foreach (TensorInfo tensor in tensors)
        {
            if (tensor.Offset > file.Length - tensor.Bytes)
                throw Damaged(file.Path, $"the file is cut off: tensor '{tensor.Name}' ends at byte {tensor.Offset + tensor.Bytes}, the file at {file.Length}");
            if (tensor.Offset != end)
                throw Damaged(file.Path, $"tensor '{tensor.Name}' {(tensor.Offset < end ? "overlaps the one before it" : "leaves a hole before it")}");
            end += tensor.Bytes;
        }
        if (end != file.Length)
            throw Damaged(file.Path, $"{file.Length - end} bytes follow the last tensor");
    }

    private static void Expect(ref Utf8JsonReader json, JsonTokenType type)
    {
        if (!json.Read() || json.TokenType != type)
            throw new JsonException($"expected {type}, found {json.TokenType}");
    }

    private static LegatoException Damaged(string path, string what) => new(what, path, Remedy);
}
