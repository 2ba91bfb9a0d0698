using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace Legato.Runtime.Cuda;

/// <summary>How a product is carried out, as cuBLASLt keeps it to itself.</summary>
[InlineArray(8)]
internal struct ProductAlgorithm
{
    private ulong first;
}

/// <summary>A proposal of cuBLASLt's.</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct ProductProposal
{
    public ProductAlgorithm Algorithm;
    public nuint WorkspaceBytes;
    public int State;
    public float Waves;
    public ulong Reserved0, Reserved1;
}

/// <summary>The functions of cuBLASLt that Legato calls. Each returns 0 or a status.</summary>
internal static unsafe partial class CublasLt
{
    /// <summary>Values of cublasComputeType_t.</summary>
    public const int Float32 = 68, Float32ByTf32 = 77;

    /// <summary>Attributes of descriptions.</summary>
    public const int TransposeA = 3, TransposeB = 4, Epilogue = 7, BiasPointer = 8, InputPointer = 11, InputLeading = 12, BatchCount = 5, BatchStride = 6, MaxWorkspaceBytes = 1, ReductionSchemes = 3;

    /// <summary>Values of cublasLtEpilogue_t: add a vector to each column; GELU, its input stored; multiply by GELU's slopes at its input.</summary>
    public const int AddsBias = 4, Gelu = 160, GeluOfBiased = 164, GeluSlope = 192;

    /// <summary>Values of cublasLtReductionScheme_t: partial sums are added in place or in the type of computation, and not in the output's.</summary>
    public const uint ReducesExactly = 1 | 2;

    /// <summary>Attributes of an algorithm: its number, and that of its tiles.</summary>
    private const int AlgorithmId = 0, TileId = 1;

    /// <summary>The status of what there was no memory for.</summary>
    private const int ErrorOutOfMemory = 3;

    private const string Library = CudaLibrary.ProductsName;

    /// <exception cref="LegatoException">The call has failed.</exception>
    public static void Check(int status, string doing)
    {
        if (status != 0)
            throw new LegatoException(
                $"cuBLASLt failed while {doing}: {(status == ErrorOutOfMemory ? "no memory could be had" : $"status {status}")}",
                remedy: status == ErrorOutOfMemory ? CudaError.MemoryRemedy : "see `legato doctor` for the library that was found; " + CudaLibrary.Products.Install);
    }

    /// <summary>An algorithm's name, as far as it has one: its numbers in cuBLASLt's lists of algorithms and of tiles.</summary>
    public static string Describe(ProductAlgorithm algorithm)
    {
        return $"cuBLASLt's algorithm {Number(&algorithm, AlgorithmId)}, tile {Number(&algorithm, TileId)}";

        static uint Number(ProductAlgorithm* algorithm, int attribute)
        {
            uint value = 0;
            Check(AlgorithmGetAttribute(algorithm, attribute, &value, sizeof(uint), out _), "describing an algorithm");
            return value;
        }
    }

    [LibraryImport(Library, EntryPoint = "cublasLtGetVersion")]
    public static partial nuint GetVersion();

    [LibraryImport(Library, EntryPoint = "cublasLtCreate")]
    public static partial int Create(out nint handle);

    [LibraryImport(Library, EntryPoint = "cublasLtDestroy")]
    public static partial int Destroy(nint handle);

    [LibraryImport(Library, EntryPoint = "cublasLtMatmulDescCreate")]
    public static partial int ProductCreate(out nint product, int computeType, int scaleType);

    [LibraryImport(Library, EntryPoint = "cublasLtMatmulDescDestroy")]
    public static partial int ProductDestroy(nint product);

    [LibraryImport(Library, EntryPoint = "cublasLtMatmulDescSetAttribute")]
    public static partial int ProductSetAttribute(nint product, int attribute, void* value, nuint bytes);

    [LibraryImport(Library, EntryPoint = "cublasLtMatrixLayoutCreate")]
    public static partial int LayoutCreate(out nint layout, int type, ulong rows, ulong columns, long leading);

    [LibraryImport(Library, EntryPoint = "cublasLtMatrixLayoutDestroy")]
    public static partial int LayoutDestroy(nint layout);

    [LibraryImport(Library, EntryPoint = "cublasLtMatrixLayoutSetAttribute")]
    public static partial int LayoutSetAttribute(nint layout, int attribute, void* value, nuint bytes);

    [LibraryImport(Library, EntryPoint = "cublasLtMatmulPreferenceCreate")]
    public static partial int PreferenceCreate(out nint preference);

    [LibraryImport(Library, EntryPoint = "cublasLtMatmulPreferenceDestroy")]
    public static partial int PreferenceDestroy(nint preference);

    [LibraryImport(Library, EntryPoint = "cublasLtMatmulPreferenceSetAttribute")]
    public static partial int PreferenceSetAttribute(nint preference, int attribute, void* value, nuint bytes);

    [LibraryImport(Library, EntryPoint = "cublasLtMatmulAlgoGetHeuristic")]
    public static partial int Propose(
        nint handle, nint product, nint a, nint b, nint c, nint d, nint preference, int asked, ProductProposal* proposals, out int given);

    [LibraryImport(Library, EntryPoint = "cublasLtMatmulAlgoConfigGetAttribute")]
    private static partial int AlgorithmGetAttribute(ProductAlgorithm* algorithm, int attribute, void* value, nuint bytes, out nuint written);

    [LibraryImport(Library, EntryPoint = "cublasLtMatmul")]
    public static partial int Multiply(
        nint handle, nint product, void* alpha, nint a, nint aLayout, nint b, nint bLayout, void* beta, nint c, nint cLayout, nint d, nint dLayout,
        ProductAlgorithm* algorithm, nint workspace, nuint workspaceBytes, nint stream);
}
