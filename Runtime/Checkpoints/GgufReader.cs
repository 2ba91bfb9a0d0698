using System.Buffers.Binary;
using System.Text;

namespace Legato.Runtime.Checkpoints;

/// <summary>The kinds of value in a GGUF file's metadata, by the numbers that the format gives them.</summary>
internal enum GgufType : uint
{
    UInt8,
    Int8,
    UInt16,
    Int16,
    UInt32,
    Int32,
    Float32,
    Bool,
    Text,
    Array,
    UInt64,
    Int64,
    Float64,
}

/// <summary>Walks through the head of a GGUF file. Every length is held against what is left of the file.</summary>
internal sealed class GgufReader(MappedFile file, long position)
{
    private const int MaximumDepth = 4;

    /// <summary>The byte that is read next.</summary>
    public long Position { get; private set; } = position;

    public byte Byte() => Take(1)[0];

    public ushort UInt16() => BinaryPrimitives.ReadUInt16LittleEndian(Take(2));

    public uint UInt32() => BinaryPrimitives.ReadUInt32LittleEndian(Take(4));

    public ulong UInt64() => BinaryPrimitives.ReadUInt64LittleEndian(Take(8));

    public string Text() => Encoding.UTF8.GetString(Take(Length(1)));

    /// <summary>A count of things that take at least so many bytes each.</summary>
    public int Length(int size)
    {
        ulong count = UInt64();
        return count <= (ulong)((file.Length - Position) / size) && count <= int.MaxValue
            ? (int)count
            : throw Damaged("names a length beyond its end");
    }

    public GgufType Type()
    {
        uint type = UInt32();
        return type <= (uint)GgufType.Float64 ? (GgufType)type : throw Damaged($"has a value of the unknown type {type}");
    }

    /// <summary>A number, a flag or a text: long, ulong, double, bool or string.</summary>
    public object Scalar(GgufType type) => type switch
    {
        GgufType.UInt8 => (ulong)Byte(),
        GgufType.Int8 => (long)(sbyte)Byte(),
        GgufType.UInt16 => (ulong)UInt16(),
        GgufType.Int16 => (long)(short)UInt16(),
        GgufType.UInt32 => (ulong)UInt32(),
        GgufType.Int32 => (long)(int)UInt32(),
        GgufType.Float32 => (double)BitConverter.UInt32BitsToSingle(UInt32()),
        GgufType.Bool => Byte() != 0,
        GgufType.Text => Text(),
        GgufType.UInt64 => UInt64(),
        GgufType.Int64 => (long)UInt64(),
        GgufType.Float64 => BitConverter.UInt64BitsToDouble(UInt64()),
        _ => throw new ArgumentException($"{type} is no scalar", nameof(type)),
    };

    /// <summary>Passes over a value, arrays of arrays included.</summary>
    public void Skip(GgufType type, int depth = 0)
    {
        if (type == GgufType.Text)
            Pass(Length(1));
        else if (type != GgufType.Array)
            Pass(SmallestSize(type));
        else if (depth == MaximumDepth)
            throw Damaged($"has arrays inside of arrays, {depth} deep");
        else
            SkipArray(depth);
    }

    /// <summary>The least bytes that a value takes.</summary>
    public static int SmallestSize(GgufType type) => type switch
    {
        GgufType.UInt8 or GgufType.Int8 or GgufType.Bool => 1,
        GgufType.UInt16 or GgufType.Int16 => 2,
        GgufType.UInt32 or GgufType.Int32 or GgufType.Float32 => 4,
        GgufType.Array => 12,
        _ => 8,
    };

    public LegatoException Damaged(string what) => new("the GGUF file " + what, file.Path, "check that the file was copied whole");

    private void SkipArray(int depth)
    {
        GgufType type = Type();
        int count = Length(SmallestSize(type));
        if (type is not (GgufType.Text or GgufType.Array))
            Pass((long)count * SmallestSize(type));
        else
            for (int i = 0; i < count; i++)
                Skip(type, depth + 1);
    }

    private void Pass(long bytes)
    {
        if (bytes > file.Length - Position)
            throw Damaged("ends too early");
        Position += bytes;
    }

    private ReadOnlySpan<byte> Take(int bytes)
    {
        long start = Position;
        Pass(bytes);
        return file.Span(start, bytes);
    }
}
