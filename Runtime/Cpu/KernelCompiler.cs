using System.Collections.Concurrent;
using Legato.Runtime.Plans;

namespace Legato.Runtime.Cpu;

/// <summary>
/// A kernel's machine code. Executes the iterations [<paramref name="from"/>, <paramref name="to"/>) of the kernel's
/// shared loop (less where it has fewer) and returns how many it has, so that an empty range asks for their number.
/// </summary>
/// <param name="operands">Addresses of the operands' first elements, 64-bit each.</param>
/// <param name="arguments">64-bit integers: the kernel's arguments, then the values of <see cref="CompiledKernel.Extents"/>.</param>
public delegate long KernelCode(nint operands, nint arguments, long from, long to);

/// <summary>A kernel as machine code.</summary>
/// <param name="Code">To call; from several workers at once for disjoint ranges.</param>
/// <param name="Extents">Sizes with dynamic dimensions, to be given after the kernel's own arguments.</param>
/// <param name="Granularity">Shares should start at multiples of so many iterations.</param>
public sealed record CompiledKernel(KernelCode Code, IReadOnlyList<Extent> Extents, int Granularity);

/// <summary>
/// Turns kernels into machine code through expression trees: vector loops become loops over lanes of the machine's
/// width, everything else stays scalar. Kernels with the same text share their code. Safe for several threads.
/// </summary>
/// <remarks>
/// Inside a vector loop integers that differ from lane to lane are 32 bits wide: loop indices, labels, and the part of
/// an offset that varies within a vector must fit. Offsets that don't vary are 64 bits wide.
/// </remarks>
internal sealed class KernelCompiler(CpuIsa isa)
{
    private readonly KernelFunctions functions = KernelFunctions.For(isa);
    private readonly ConcurrentDictionary<string, Lazy<CompiledKernel>> compiled = new();

    public CompiledKernel Compile(Kernel kernel) =>
        compiled.GetOrAdd(kernel.Text, _ => new Lazy<CompiledKernel>(() => Translate(kernel))).Value;

    private CompiledKernel Translate(Kernel kernel)
    {
        if (DebugLevel.ShowsKernels)
            Console.Error.WriteLine(kernel);
        return new KernelEmitter(functions, kernel).Compile();
    }
}
