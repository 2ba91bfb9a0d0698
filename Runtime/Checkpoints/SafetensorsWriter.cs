using System.Buffers.Binary;
using System.Text.Encodings.Web;
using System.Text.Json;

namespace Legato.Runtime.Checkpoints;

/// <summary>A tensor to be written; <paramref name="Write"/> puts its bytes, row-major, little-endian, on the stream.</summary>
public sealed record TensorToWrite(string Name, TensorType Type, IReadOnlyList<long> Shape, Action<Stream> Write)
{
    public long Bytes => Type.Bytes(Shape.Aggregate(1L, (n, size) => checked(n * size)));
}

/// <summary>
/// Writes safetensors files as the format's reference implementation lays them out: wide types first, then by name,
/// the header padded to a multiple of eight, so that equal weights are equal files.
/// </summary>
public static class SafetensorsWriter
{
    private static readonly JsonWriterOptions Compact = new() { Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping };

    /// <summary>Writes the file whole or not at all.</summary>
    /// <exception cref="LegatoException">It can't be written.</exception>
    public static void Write(string path, IEnumerable<TensorToWrite> tensors, IReadOnlyDictionary<string, string>? metadata = null)
    {
        TensorToWrite[] ordered = [.. tensors.OrderByDescending(t => t.Type.BlockBytes()).ThenBy(t => t.Type).ThenBy(t => t.Name, StringComparer.Ordinal)];
        AtomicWrite.File(path, stream =>
        {
            WriteHeader(stream, ordered, metadata);
            foreach (TensorToWrite tensor in ordered)
            {
                long start = stream.Position;
                tensor.Write(stream);
                if (stream.Position - start != tensor.Bytes)
                    throw new InvalidOperationException($"tensor '{tensor.Name}' has {tensor.Bytes} bytes, {stream.Position - start} were written");
            }
        });
    }

    private static void WriteHeader(Stream stream, TensorToWrite[] tensors, IReadOnlyDictionary<string, string>? metadata)
    {
        using var text = new MemoryStream();
        using (var json = new Utf8JsonWriter(text, Compact))
        {
            json.WriteStartObject();
            if (metadata is { Count: > 0 })
                WriteMetadata(json, metadata);
            long offset = 0;
            foreach (TensorToWrite tensor in tensors)
            {
                WriteTensor(json, tensor, offset);
                offset += tensor.Bytes;
            }
            json.WriteEndObject();
        }
        while (text.Length % 8 != 0)
            text.WriteByte((byte)' ');
        Span<byte> length = stackalloc byte[8];
        BinaryPrimitives.WriteInt64LittleEndian(length, text.Length);
        stream.Write(length);
        text.WriteTo(stream);
    }

    private static void WriteMetadata(Utf8JsonWriter json, IReadOnlyDictionary<string, string> metadata)
    {
        json.WriteStartObject("__metadata__");
        foreach ((string key, string value) in metadata.OrderBy(m => m.Key, StringComparer.Ordinal))
            json.WriteString(key, value);
        json.WriteEndObject();
    }

    private static void WriteTensor(Utf8JsonWriter json, TensorToWrite tensor, long offset)
    {
        json.WriteStartObject(tensor.Name);
        json.WriteString("dtype", tensor.Type.FormatName());
        json.WriteStartArray("shape");
        foreach (long size in tensor.Shape)
            json.WriteNumberValue(size);
        json.WriteEndArray();
        json.WriteStartArray("data_offsets");
        json.WriteNumberValue(offset);
        json.WriteNumberValue(offset + tensor.Bytes);
        json.WriteEndArray();
        json.WriteEndObject();
    }
}
