using System.Text;

namespace Legato.Runtime.Checkpoints;

/// <summary>Writes GGUF files, version 3.</summary>
public static class GgufWriter
{
    private const uint Magic = 0x46554747;
    private const uint Version = 3;

    /// <summary>Writes the file whole or not at all.</summary>
    /// <param name="metadata">
    /// Values by key: uint, int, float, bool, string, or an array of strings, floats or ints.
    /// </param>
    /// <param name="isNew">Whether a file that stands there is left alone.</param>
    /// <exception cref="LegatoException">It can't be written.</exception>
    public static void Write(
        string path, IEnumerable<KeyValuePair<string, object>> metadata, IEnumerable<TensorToWrite> tensors, bool isNew = false)
    {
        KeyValuePair<string, object>[] entries = [.. metadata];
        TensorToWrite[] all = [.. tensors];
        Action<string, Action<FileStream>> write = isNew ? AtomicWrite.NewFile : AtomicWrite.File;
        write(path, stream =>
        {
            using (var writer = new BinaryWriter(stream, Encoding.UTF8, leaveOpen: true))
            {
                writer.Write(Magic);
                writer.Write(Version);
                writer.Write((ulong)all.Length);
                writer.Write((ulong)entries.Length);
                foreach ((string key, object value) in entries)
                    WriteEntry(writer, key, value);
                WriteTensors(writer, all);
            }
            foreach (TensorToWrite tensor in all)
            {
                Pad(stream);
                long start = stream.Position;
                tensor.Write(stream);
                if (stream.Position - start != tensor.Bytes)
                    throw new InvalidOperationException($"tensor '{tensor.Name}' has {tensor.Bytes} bytes, {stream.Position - start} were written");
            }
            Pad(stream);
        });
    }

    private static void WriteTensors(BinaryWriter writer, TensorToWrite[] tensors)
    {
        long place = 0;
        foreach (TensorToWrite tensor in tensors)
        {
            WriteText(writer, tensor.Name);
            writer.Write((uint)tensor.Shape.Count);
            foreach (long size in tensor.Shape.Reverse())
                writer.Write((ulong)size);
            writer.Write(GgufTensorType.Number(tensor.Type));
            writer.Write((ulong)place);
            place = Aligned(place + tensor.Bytes);
        }
    }

    private static void WriteEntry(BinaryWriter writer, string key, object value)
    {
        WriteText(writer, key);
        switch (value)
        {
            case uint number: WriteType(writer, GgufType.UInt32); writer.Write(number); break;
            case int number: WriteType(writer, GgufType.Int32); writer.Write(number); break;
            case float number: WriteType(writer, GgufType.Float32); writer.Write(number); break;
            case bool flag: WriteType(writer, GgufType.Bool); writer.Write(flag); break;
            case string text: WriteType(writer, GgufType.Text); WriteText(writer, text); break;
            case string[] texts: WriteArray(writer, GgufType.Text, texts, text => WriteText(writer, text)); break;
            case float[] numbers: WriteArray(writer, GgufType.Float32, numbers, writer.Write); break;
            case int[] numbers: WriteArray(writer, GgufType.Int32, numbers, writer.Write); break;
            default: throw new ArgumentException($"'{key}' is a {value.GetType().Name}, which GGUF is not given", nameof(value));
        }
    }

    private static void WriteArray<T>(BinaryWriter writer, GgufType type, T[] items, Action<T> write)
    {
        WriteType(writer, GgufType.Array);
        WriteType(writer, type);
        writer.Write((ulong)items.Length);
        foreach (T item in items)
            write(item);
    }

    private static void WriteType(BinaryWriter writer, GgufType type) => writer.Write((uint)type);

    private static void WriteText(BinaryWriter writer, string text)
    {
        byte[] bytes = Encoding.UTF8.GetBytes(text);
        writer.Write((ulong)bytes.Length);
        writer.Write(bytes);
    }

    private static void Pad(Stream stream)
    {
        for (long missing = Aligned(stream.Position) - stream.Position; missing > 0; missing--)
            stream.WriteByte(0);
    }

    private static long Aligned(long place) => (place + GgufFile.DefaultAlignment - 1) / GgufFile.DefaultAlignment * GgufFile.DefaultAlignment;
}
