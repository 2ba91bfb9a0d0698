using System.Runtime.InteropServices;

namespace Legato.Runtime.Checkpoints;

/// <summary>A safetensors file, mapped into memory: tensors by name, their bytes on demand.</summary>
public sealed class SafetensorsFile : IDisposable
{
    private readonly MappedFile file;
    private readonly Dictionary<string, TensorInfo> byName = new(StringComparer.Ordinal);

    /// <exception cref="LegatoException">The file is missing, or no sound safetensors file.</exception>
    public SafetensorsFile(string path)
    {
        file = new MappedFile(path);
        try
        {
            (List<TensorInfo> tensors, Dictionary<string, string> metadata) = SafetensorsHeader.Read(file);
            (Tensors, Metadata) = (tensors, metadata);
            foreach (TensorInfo tensor in tensors)
                byName.Add(tensor.Name, tensor);
        }
        catch
        {
            file.Dispose();
            throw;
        }
    }

    public string Path => file.Path;

    /// <summary>In the order of the data.</summary>
    public IReadOnlyList<TensorInfo> Tensors { get; }

    public IReadOnlyDictionary<string, string> Metadata { get; }

    /// <summary>The tensor of that name, or null.</summary>
    public TensorInfo? Find(string name) => byName.GetValueOrDefault(name);

    internal StoredTensor Stored(TensorInfo tensor) => new(file, tensor);

    /// <summary>The tensor of that name.</summary>
    /// <exception cref="LegatoException">There is none.</exception>
    public TensorInfo Get(string name) =>
        Find(name) ?? throw new LegatoException($"there is no tensor '{name}'", Path, $"the file holds {string.Join(", ", byName.Keys.Order(StringComparer.Ordinal).Take(8))}");

    /// <summary>A stretch of a tensor, in bytes from its start; valid until disposal.</summary>
    public ReadOnlySpan<byte> Bytes(TensorInfo tensor, long start, int length)
    {
        ArgumentOutOfRangeException.ThrowIfGreaterThan(start, tensor.Bytes - length);
        return file.Span(tensor.Offset + start, length);
    }

    /// <summary>A whole tensor of any float type, as float32.</summary>
    /// <exception cref="LegatoException">There is none, or it holds no floats, or more than fit in one array.</exception>
    public float[] Singles(string name)
    {
        TensorInfo tensor = Get(name);
        if (!tensor.Type.IsFloat())
            throw new LegatoException($"tensor '{name}' holds {tensor.Type.FormatName()}, not floats", Path);
        var values = new float[Count(tensor)];
        ElementConversion.ToSingle(tensor.Type, Bytes(tensor, 0, checked((int)tensor.Bytes)), values);
        return values;
    }

    /// <summary>A whole tensor of I64 or I32, as 64-bit integers.</summary>
    /// <exception cref="LegatoException">There is none, or it holds something else, or more than fits in one array.</exception>
    public long[] Integers(string name)
    {
        TensorInfo tensor = Get(name);
        var values = new long[Count(tensor)];
        ReadOnlySpan<byte> bytes = Bytes(tensor, 0, checked((int)tensor.Bytes));
        if (tensor.Type == TensorType.I64)
        {
            MemoryMarshal.Cast<byte, long>(bytes).CopyTo(values);
            return values;
        }
        if (tensor.Type != TensorType.I32)
            throw new LegatoException($"tensor '{name}' holds {tensor.Type.FormatName()}, not I64 or I32", Path);
        ReadOnlySpan<int> narrow = MemoryMarshal.Cast<byte, int>(bytes);
        for (int i = 0; i < narrow.Length; i++)
            values[i] = narrow[i];
        return values;
    }

    public void Dispose() => file.Dispose();

    private int Count(TensorInfo tensor) => tensor.Bytes <= int.MaxValue
        ? (int)(tensor.Bytes / tensor.Type.BlockBytes())
        : throw new LegatoException($"tensor '{tensor.Name}' has {tensor.Bytes} bytes, too many to be read at once", Path);
}
