using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using Legato.Runtime.Plans;

namespace Legato.Runtime.Cpu;

/// <summary>A compiled kernel with the addresses of its operands and its arguments.</summary>
internal sealed unsafe class CpuKernelCall
{
    private readonly KernelCode code;
    private readonly CpuView[] views;
    private readonly CpuExtent[] extents;
    private readonly int ownArguments;

    // Pinned, so that the code can hold on to their addresses.
    private readonly long[] operands;
    private readonly long[] arguments;

    public CpuKernelCall(Kernel kernel, CpuView[] views, CpuLowering lowering)
    {
        if (views.Length != kernel.Operands.Count)
            throw new InvalidOperationException($"kernel {kernel.Name} has {kernel.Operands.Count} operands, its step {views.Length}");
        for (int i = 0; i < views.Length; i++)
            if (views[i].Type != kernel.Operands[i].Type)
                throw new InvalidOperationException($"kernel {kernel.Name} takes {views[i].Name} as {kernel.Operands[i].Type}, it is {views[i].Type}");
        CompiledKernel compiled = lowering.Compile(kernel);
        this.views = views;
        Kernel = kernel;
        code = compiled.Code;
        Granularity = compiled.Granularity;
        extents = lowering.Extents(compiled.Extents);
        ownArguments = kernel.Arguments.Count;
        operands = GC.AllocateArray<long>(Math.Max(1, views.Length), pinned: true);
        arguments = GC.AllocateArray<long>(Math.Max(1, ownArguments + extents.Length), pinned: true);
    }

    public Kernel Kernel { get; }

    public int Granularity { get; }

    public void Bind(ReadOnlySpan<long> dimensions)
    {
        for (int i = 0; i < views.Length; i++)
            operands[i] = views[i].Address(dimensions);
        for (int i = 0; i < extents.Length; i++)
            arguments[ownArguments + i] = extents[i].Evaluate(dimensions);
    }

    public void Access(List<CpuAccess> accesses, bool alone)
    {
        for (int i = 0; i < views.Length; i++)
            accesses.Add(new CpuAccess(views[i].Range, Kernel.Operands[i].Access != Plans.Access.Read, alone));
    }

    /// <summary>Iterations that workers may share.</summary>
    public long Count() => Run(0, 0);

    public long Run(long from, long to) => code(Pointer(operands), Pointer(arguments), from, to);

    /// <summary>All of it, for a block of a matrix product.</summary>
    public void RunBlock(int m0, int m1, int n0, int n1)
    {
        long* block = stackalloc long[arguments.Length];
        arguments.CopyTo(new Span<long>(block, arguments.Length));
        (block[0], block[1], block[2], block[3]) = (m0, m1, n0, n1);
        code(Pointer(operands), (nint)block, 0, long.MaxValue);
    }

    private static nint Pointer(long[] pinned) => (nint)Unsafe.AsPointer(ref MemoryMarshal.GetArrayDataReference(pinned));
}
