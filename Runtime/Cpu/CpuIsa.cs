using System.Runtime.Intrinsics.X86;

namespace Legato.Runtime.Cpu;

/// <summary>The instruction sets that the CPU's kernels are written for.</summary>
public enum CpuIsa
{
    /// <summary>128-bit vectors that .NET maps to whatever the processor has.</summary>
    Portable,

    /// <summary>AVX2 with fused multiply-add.</summary>
    Avx2,

    /// <summary>AVX-512 F, BW, DQ and VL.</summary>
    Avx512,
}

/// <summary>Which instruction set the kernels use: the processor's best, or what LEGATO_ISA names.</summary>
public static class CpuIsaChoice
{
    /// <summary>The environment variable that overrides the choice: avx512, avx2 or portable.</summary>
    public const string Variable = "LEGATO_ISA";

    private static readonly Lazy<CpuIsa> Chosen = new(() => Parse(Environment.GetEnvironmentVariable(Variable)));

    /// <summary>The choice, made once a process.</summary>
    /// <exception cref="LegatoException">LEGATO_ISA names no instruction set, or one that the processor lacks.</exception>
    public static CpuIsa Active => Chosen.Value;

    /// <summary>The best instruction set of this processor.</summary>
    public static CpuIsa Best => Supports(CpuIsa.Avx512) ? CpuIsa.Avx512 : Supports(CpuIsa.Avx2) ? CpuIsa.Avx2 : CpuIsa.Portable;

    public static bool Supports(CpuIsa isa) => isa switch
    {
        CpuIsa.Avx512 => Avx512F.IsSupported && Avx512BW.IsSupported && Avx512DQ.IsSupported && Avx512F.VL.IsSupported,
        CpuIsa.Avx2 => Avx2.IsSupported && Fma.IsSupported,
        _ => true,
    };

    internal static CpuIsa Parse(string? name)
    {
        CpuIsa isa = name?.Trim().ToLowerInvariant() switch
        {
            null or "" => Best,
            "avx512" => CpuIsa.Avx512,
            "avx2" => CpuIsa.Avx2,
            "portable" => CpuIsa.Portable,
            _ => throw new LegatoException($"'{name}' names no instruction set", Variable, "set it to avx512, avx2 or portable, or unset it"),
        };
        return Supports(isa)
            ? isa
            : throw new LegatoException($"this processor has no {name}", Variable, "set it to avx2 or portable, or unset it");
    }
}
