using System.Collections.Concurrent;
using System.Runtime.InteropServices;

namespace Legato.Runtime.Cuda;

/// <summary>
/// Which algorithm of cuBLASLt's carries out a product: its first proposals are measured once for each shape, and the
/// choice is kept on disk, so that runs from then on give the same bits.
/// </summary>
internal sealed unsafe class CudaProducts : IDisposable
{
    /// <summary>What NVIDIA advises for Hopper.</summary>
    public const long WorkspaceBytes = 32 << 20;

    private const int Proposals = 8, Rounds = 3;

    private readonly CudaDevice device;
    private readonly ConcurrentDictionary<ProductShape, ProductAlgorithm?> chosen = new();
    private readonly CudaMemory workspace;
    private readonly nint handle;

    public CudaProducts(CudaDevice device)
    {
        this.device = device;
        if (!device.IsOnPaper)
        {
            CudaLibraries.Require(CudaLibrary.Products);
            CublasLt.Check(CublasLt.Create(out handle), "starting");
        }
        workspace = new CudaMemory(device, WorkspaceBytes);
    }

    /// <summary>The algorithm for a shape; null where cuBLASLt has none.</summary>
    public ProductAlgorithm? Choose(ProductShape shape, CudaProduct product) => chosen.GetOrAdd(shape, _ =>
    {
        string key = $"{shape}\n{device.Information.Name}\n{CublasLt.GetVersion()}";
        if (CubinCache.Find(key) is { Length: 64 } kept)
            return MemoryMarshal.Read<ProductAlgorithm>(kept);
        if (Measured(product) is not { } best)
            return null;
        CubinCache.Keep(key, MemoryMarshal.AsBytes(new ReadOnlySpan<ProductAlgorithm>(in best)).ToArray());
        return best;
    });

    /// <summary>Starts d = a · b, or where the product accumulates a · b + c; c may be d. Zero for success.</summary>
    public int Multiply(CudaProduct product, in ProductAlgorithm algorithm, nint a, nint b, nint c, nint d, nint stream)
    {
        float one = 1, beta = product.Accumulate ? 1 : 0;
        fixed (ProductAlgorithm* chosenAlgorithm = &algorithm)
            return CublasLt.Multiply(
                handle, product.Description, &one, a, product.A, b, product.B, &beta, c, product.C, d, product.C,
                chosenAlgorithm, workspace.Address, (nuint)WorkspaceBytes, stream);
    }

    public void Dispose()
    {
        workspace.Dispose();
        _ = CublasLt.Destroy(handle);
    }

    /// <summary>The fastest of the proposals, on memory of its own; the first where there is no room to measure.</summary>
    private ProductAlgorithm? Measured(CudaProduct product)
    {
        ProductProposal* proposals = stackalloc ProductProposal[Proposals];
        CublasLt.Check(CublasLt.PreferenceCreate(out nint preference), "describing a preference");
        nuint most = (nuint)WorkspaceBytes;
        CublasLt.Check(CublasLt.PreferenceSetAttribute(preference, CublasLt.MaxWorkspaceBytes, &most, (nuint)sizeof(nuint)), "describing a preference");
        int status = CublasLt.Propose(
            handle, product.Description, product.A, product.B, product.C, product.C, preference, Proposals, proposals, out int given);
        _ = CublasLt.PreferenceDestroy(preference);
        if (status != 0 || given == 0)
            return null;
        if (given == 1 || product.Bytes.A + product.Bytes.B + product.Bytes.C > device.BytesFree / 2)
            return proposals[0].Algorithm;

        using CudaMemory a = Filled(product.Bytes.A), b = Filled(product.Bytes.B), c = Filled(product.Bytes.C);
        using var stopwatch = new CudaStopwatch(1);
        if (product.HasBias)
            product.SetBias(a.Address);
        (double best, int at) = (double.PositiveInfinity, 0);
        for (int i = 0; i < given; i++)
            if (Time(product, proposals[i].Algorithm, a, b, c, stopwatch) is { } seconds && seconds < best)
                (best, at) = (seconds, i);
        return proposals[at].Algorithm;
    }

    private double? Time(CudaProduct product, in ProductAlgorithm algorithm, CudaMemory a, CudaMemory b, CudaMemory c, CudaStopwatch stopwatch)
    {
        if (Multiply(product, algorithm, a.Address, b.Address, c.Address, c.Address, device.Stream) != 0)
            return null;
        double best = double.PositiveInfinity;
        for (int round = 0; round < Rounds; round++)
        {
            stopwatch.Start(0, device.Stream);
            _ = Multiply(product, algorithm, a.Address, b.Address, c.Address, c.Address, device.Stream);
            stopwatch.Stop(0, device.Stream);
            device.Synchronize("measuring products");
            best = Math.Min(best, stopwatch.Read(0));
        }
        return best;
    }

    // Small numbers in every type; zeros would draw less power and run faster than what is to come.
    private CudaMemory Filled(long bytes)
    {
        const byte SmallNumber = 0x3c;
        var memory = new CudaMemory(device, bytes);
        CudaError.Check(Driver.MemsetAsync(memory.Address, SmallNumber, (nuint)bytes, device.Stream), "filling memory");
        return memory;
    }
}
