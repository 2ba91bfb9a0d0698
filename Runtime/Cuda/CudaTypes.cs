using Legato.Runtime.Plans;

namespace Legato.Runtime.Cuda;

/// <summary>The element types of buffers in CUDA C++ and in cuBLASLt.</summary>
internal static class CudaTypes
{
    /// <summary>As the prelude of kernels names it.</summary>
    public static string Name(ScalarType type) => type switch
    {
        ScalarType.F32 => "float",
        ScalarType.BF16 => "bf16",
        ScalarType.F16 => "f16",
        ScalarType.I32 => "int",
        _ => throw new ArgumentOutOfRangeException(nameof(type), type, "no known element type"),
    };

    /// <summary>cudaDataType.</summary>
    public static int DataType(ScalarType type) => type switch
    {
        ScalarType.F32 => 0,
        ScalarType.F16 => 2,
        ScalarType.BF16 => 14,
        _ => throw new ArgumentOutOfRangeException(nameof(type), type, "no type of a matrix"),
    };
}
