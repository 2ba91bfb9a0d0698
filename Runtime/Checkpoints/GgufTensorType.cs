namespace Legato.Runtime.Checkpoints;

/// <summary>The numbers and names of GGUF's element types (ggml's enum ggml_type).</summary>
internal static class GgufTensorType
{
    private static readonly (uint Number, TensorType Type)[] Known =
    [
        (0, TensorType.F32), (1, TensorType.F16), (2, TensorType.Q4_0), (8, TensorType.Q8_0), (12, TensorType.Q4_K),
        (14, TensorType.Q6_K), (24, TensorType.I8), (25, TensorType.I16), (26, TensorType.I32), (27, TensorType.I64),
        (28, TensorType.F64), (30, TensorType.BF16), (39, TensorType.MXFP4),
    ];

    private static readonly Dictionary<uint, string> Unread = new()
    {
        [3] = "Q4_1",
        [6] = "Q5_0",
        [7] = "Q5_1",
        [9] = "Q8_1",
        [10] = "Q2_K",
        [11] = "Q3_K",
        [13] = "Q5_K",
        [15] = "Q8_K",
        [16] = "IQ2_XXS",
        [17] = "IQ2_XS",
        [18] = "IQ3_XXS",
        [19] = "IQ1_S",
        [20] = "IQ4_NL",
        [21] = "IQ3_S",
        [22] = "IQ2_S",
        [23] = "IQ4_XS",
        [29] = "IQ1_M",
        [34] = "TQ1_0",
        [35] = "TQ2_0",
    };

    /// <summary>The type of that number, or null where Legato doesn't read it.</summary>
    public static TensorType? FromNumber(uint number)
    {
        foreach ((uint known, TensorType type) in Known)
            if (known == number)
                return type;
        return null;
    }

    public static uint Number(TensorType type)
    {
        foreach ((uint number, TensorType known) in Known)
            if (known == type)
                return number;
        throw new ArgumentException($"GGUF has no {type}", nameof(type));
    }

    /// <summary>The name of a type that Legato doesn't read.</summary>
    public static string NameOfUnread(uint number) => Unread.GetValueOrDefault(number) ?? $"number {number}";
}
