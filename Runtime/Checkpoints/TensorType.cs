namespace Legato.Runtime.Checkpoints;

/// <summary>Element types of checkpoint files. Those from <see cref="Q4_0"/> on come in blocks that share a scale.</summary>
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
    Q4_0,
    Q8_0,
    Q4_K,
    Q6_K,

    /// <summary>32 values of e2m1 behind their scale, a power of two (OCP Microscaling Formats 1.0), as GGUF files hold them.</summary>
    MXFP4,

    /// <summary>The values of <see cref="MXFP4"/> as folders hold them: the scales are a tensor of their own.</summary>
    F4,
}

public static class TensorTypes
{
    /// <summary>Elements that are stored together: 1, or the length of a block along the last axis.</summary>
    public static int BlockElements(this TensorType type) => type switch
    {
        TensorType.Q4_0 or TensorType.Q8_0 or TensorType.MXFP4 or TensorType.F4 => 32,
        TensorType.Q4_K or TensorType.Q6_K => 256,
        _ => 1,
    };

    /// <summary>Bytes of one block; of one element, where there are no blocks.</summary>
    public static int BlockBytes(this TensorType type) => type switch
    {
        TensorType.F64 or TensorType.I64 or TensorType.U64 => 8,
        TensorType.F32 or TensorType.I32 or TensorType.U32 => 4,
        TensorType.F16 or TensorType.BF16 or TensorType.I16 or TensorType.U16 => 2,
        TensorType.Q4_0 => 18,
        TensorType.Q8_0 => 34,
        TensorType.Q4_K => 144,
        TensorType.Q6_K => 210,
        TensorType.MXFP4 => 17,
        TensorType.F4 => 16,
        _ => 1,
    };

    /// <summary>Bytes of whole blocks of elements.</summary>
    public static long Bytes(this TensorType type, long elements) => checked(elements / type.BlockElements() * type.BlockBytes());

    public static bool IsBlock(this TensorType type) => type >= TensorType.Q4_0;

    /// <summary>Whether it holds real numbers, however coarse.</summary>
    public static bool IsFloat(this TensorType type) => type <= TensorType.F8E5M2 || type.IsBlock();

    /// <summary>The name that its format uses, such as <c>F8_E4M3</c> or <c>Q4_K</c>.</summary>
    public static string FormatName(this TensorType type) => type switch
    {
        TensorType.F8E4M3 => "F8_E4M3",
        TensorType.F8E5M2 => "F8_E5M2",
        TensorType.Bool => "BOOL",
        TensorType.F4 => "MXFP4",
        _ => type.ToString(),
    };

    /// <summary>The type of that name in the safetensors format, or null.</summary>
    public static TensorType? FromFormatName(string name)
    {
        foreach (TensorType type in Enum.GetValues<TensorType>())
            if (!type.IsBlock() && type.FormatName() == name)
                return type;
        return null;
    }
}
