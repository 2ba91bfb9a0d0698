namespace Legato.Runtime.Checkpoints;

/// <summary>Element types of the safetensors format.</summary>
public enum TensorType
{
    F64,
    F32,
    F16,
    BF16,
    F8E4M3,
    F8E5M2,
    I64,
    I32,
    I16,
    I8,
    U64,
    U32,
    U16,
    U8,
    Bool,
}

public static class TensorTypes
{
    /// <summary>Bytes of one element.</summary>
    public static int Size(this TensorType type) => type switch
    {
        TensorType.F64 or TensorType.I64 or TensorType.U64 => 8,
        TensorType.F32 or TensorType.I32 or TensorType.U32 => 4,
        TensorType.F16 or TensorType.BF16 or TensorType.I16 or TensorType.U16 => 2,
        _ => 1,
    };

    public static bool IsFloat(this TensorType type) => type <= TensorType.F8E5M2;

    /// <summary>The name that the format uses, such as <c>F8_E4M3</c>.</summary>
    public static string FormatName(this TensorType type) => type switch
    {
        TensorType.F8E4M3 => "F8_E4M3",
        TensorType.F8E5M2 => "F8_E5M2",
        TensorType.Bool => "BOOL",
        _ => type.ToString(),
    };

    /// <summary>The type of that name in the format, or null.</summary>
    public static TensorType? FromFormatName(string name)
    {
        foreach (TensorType type in Enum.GetValues<TensorType>())
            if (type.FormatName() == name)
                return type;
        return null;
    }
}
