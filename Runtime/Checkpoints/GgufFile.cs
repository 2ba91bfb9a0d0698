namespace Legato.Runtime.Checkpoints;

/// <summary>
/// A GGUF file, mapped into memory: metadata, and tensors by name. GGUF lists axes from the innermost on; here they are
/// given row-major.
/// </summary>
public sealed class GgufFile : ITensorSource
{
    public const string Extension = ".gguf";

    private const int MostAxes = 4;
    private const string AlignmentKey = "general.alignment";
    internal const long DefaultAlignment = 32;

    private readonly MappedFile file;
    private readonly Dictionary<string, StoredTensor> tensors = new(StringComparer.Ordinal);

    /// <exception cref="LegatoException">The file is missing, no sound GGUF file, or holds types that Legato doesn't read.</exception>
    public GgufFile(string path)
    {
        file = new MappedFile(path);
        try
        {
            Metadata = new GgufMetadata(file);
            ReadTensors();
        }
        catch
        {
            file.Dispose();
            throw;
        }
    }

    public string Path => file.Path;

    public GgufMetadata Metadata { get; }

    public IEnumerable<string> Names => tensors.Keys;

    public static bool IsNamed(string path) => path.EndsWith(Extension, StringComparison.OrdinalIgnoreCase);

    public StoredTensor? Find(string name) => tensors.GetValueOrDefault(name);

    /// <summary>A small tensor as float32.</summary>
    /// <exception cref="LegatoException">It holds no real numbers, or more than fit in one array.</exception>
    public float[] Singles(string name)
    {
        TensorInfo tensor = tensors[name].Info;
        if (!tensor.Type.IsFloat() || tensor.Bytes > int.MaxValue / sizeof(double))
            throw new LegatoException($"the tensor '{name}' is {tensor.ShapeText} of {tensor.Type.FormatName()}, no vector of numbers", Path);
        int count = (int)tensor.Shape.Aggregate(1L, (n, size) => n * size);
        var values = new float[count];
        ElementConversion.ToSingle(tensors[name].ElementType, tensors[name].Elements(0, count, new byte[tensors[name].ScratchBytes(count)]), values);
        return values;
    }

    public void Dispose() => file.Dispose();

    private void ReadTensors()
    {
        var reader = new GgufReader(file, Metadata.End);
        var found = new List<TensorInfo>();
        var unread = new List<string>();
        for (int left = Metadata.TensorCount; left > 0; left--)
        {
            string name = reader.Text();
            long[] shape = ReadShape(reader, name);
            uint number = reader.UInt32();
            ulong place = reader.UInt64();
            if (place > long.MaxValue)
                throw reader.Damaged($"puts the tensor '{name}' beyond its end");
            if (GgufTensorType.FromNumber(number) is { } type)
                found.Add(new TensorInfo(name, type, shape, (long)place, Bytes(reader, name, type, shape)));
            else
                unread.Add($"{name} ({GgufTensorType.NameOfUnread(number)})");
        }
        if (unread.Count > 0)
            throw new LegatoException(
                $"{unread.Count} tensors are of types that Legato doesn't read: {string.Join(", ", unread.Take(8))}{(unread.Count > 8 ? ", …" : "")}",
                Path, "use a file of F32, F16, BF16, Q8_0, Q4_0, Q4_K, Q6_K or MXFP4");
        long alignment = Alignment(reader);
        long data = checked((reader.Position + alignment - 1) / alignment * alignment);
        foreach (TensorInfo tensor in found)
            Place(reader, tensor, data, alignment);
    }

    private static long[] ReadShape(GgufReader reader, string name)
    {
        uint axes = reader.UInt32();
        if (axes > MostAxes)
            throw reader.Damaged($"gives the tensor '{name}' {axes} axes");
        var shape = new long[axes];
        for (int axis = shape.Length - 1; axis >= 0; axis--)
            shape[axis] = reader.UInt64() is var size and <= long.MaxValue ? (long)size : throw reader.Damaged($"gives the tensor '{name}' no size");
        return shape;
    }

    private static long Bytes(GgufReader reader, string name, TensorType type, long[] shape)
    {
        long last = shape.Length == 0 ? 1 : shape[^1];
        if (last % type.BlockElements() != 0)
            throw reader.Damaged($"gives the tensor '{name}' rows of {last}, which are no whole blocks of {type.FormatName()}");
        long bytes = last / type.BlockElements();
        foreach (long size in shape.AsSpan(0, Math.Max(0, shape.Length - 1)))
            bytes = Product(reader, name, bytes, size);
        return Product(reader, name, bytes, type.BlockBytes());
    }

    private static long Product(GgufReader reader, string name, long a, long b) =>
        Math.BigMul(a, b, out long low) == 0 && low >= 0 ? low : throw reader.Damaged($"gives the tensor '{name}' more bytes than any file has");

    private long Alignment(GgufReader reader) => Metadata.Scalar(AlignmentKey) switch
    {
        null => DefaultAlignment,
        ulong alignment and > 0 and <= 1 << 20 => (long)alignment,
        _ => throw reader.Damaged($"has no usable {AlignmentKey}"),
    };

    private void Place(GgufReader reader, TensorInfo tensor, long data, long alignment)
    {
        if (tensor.Offset % alignment != 0)
            throw reader.Damaged($"puts the tensor '{tensor.Name}' where it isn't aligned");
        if (tensor.Bytes > file.Length - data || tensor.Offset > file.Length - data - tensor.Bytes)
            throw reader.Damaged($"is cut off: the tensor '{tensor.Name}' ends beyond it");
        if (!tensors.TryAdd(tensor.Name, new StoredTensor(file, tensor with { Offset = data + tensor.Offset })))
            throw reader.Damaged($"names the tensor '{tensor.Name}' twice");
    }
}
