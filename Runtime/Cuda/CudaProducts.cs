using System.Collections.Concurrent;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using Legato.Runtime.Plans;

namespace Legato.Runtime.Cuda;

/// <summary>How a product is computed: by an algorithm of cuBLASLt's, or by our own kernel.</summary>
/// <param name="Library">Null for our own.</param>
/// <param name="Seconds">That it took when it was chosen; not a number where there was no room to measure.</param>
internal readonly record struct ProductChoice(ProductAlgorithm? Library, double Seconds)
{
    private const int OwnBytes = sizeof(double);

    /// <summary>Whether it was the fastest, and not the first for want of room: such a one is worth keeping.</summary>
    public bool IsMeasured => double.IsFinite(Seconds);

    /// <summary>What <see cref="ToBytes"/> has given of a measured one; null for other bytes.</summary>
    public static ProductChoice? Of(ReadOnlySpan<byte> bytes)
    {
        if (bytes.Length != OwnBytes && bytes.Length != OwnBytes + Unsafe.SizeOf<ProductAlgorithm>())
            return null;
        var choice = new ProductChoice(bytes.Length == OwnBytes ? null : MemoryMarshal.Read<ProductAlgorithm>(bytes[OwnBytes..]), MemoryMarshal.Read<double>(bytes));
        return choice.IsMeasured ? choice : null;
    }

    public byte[] ToBytes()
    {
        byte[] seconds = BitConverter.GetBytes(Seconds);
        return Library is { } algorithm ? [.. seconds, .. MemoryMarshal.AsBytes(new ReadOnlySpan<ProductAlgorithm>(in algorithm))] : seconds;
    }
}

/// <summary>
/// What carries out a product: our own kernels and cuBLASLt's first proposals are measured once for each shape, and the
/// choice is kept on disk.
/// </summary>
internal sealed unsafe class CudaProducts : IDisposable
{
    /// <summary>What NVIDIA advises for Hopper.</summary>
    public const long WorkspaceBytes = 32 << 20;

    private const int Proposals = 16;

    private readonly CudaDevice device;
    private readonly CudaProductMeasuring measuring;
    private readonly ConcurrentDictionary<(ProductShape Shape, bool HasOwn), ProductChoice?> chosen = new();
    private readonly ConcurrentDictionary<ProductShape, bool> unloaded = new();
    private readonly ConcurrentDictionary<string, double> together = new();
    private readonly CudaMemory workspace;
    private readonly nint handle;

    public CudaProducts(CudaDevice device)
    {
        this.device = device;
        measuring = new CudaProductMeasuring(device, this);
        if (!device.IsOnPaper)
        {
            CudaLibraries.Require(CudaLibrary.Products);
            CublasLt.Check(CublasLt.Create(out handle), "starting");
        }
        try
        {
            workspace = new CudaMemory(device, WorkspaceBytes);
        }
        catch
        {
            Release();
            throw;
        }
    }

    /// <summary>How to compute a shape; null where cuBLASLt has no algorithm, and there is no kernel of our own.</summary>
    /// <param name="own">Our own, where it computes that shape.</param>
    public ProductChoice? Choose(ProductShape shape, CudaProduct product, CudaOwnProduct? own) => chosen.GetOrAdd((shape, own is not null), _ =>
    {
        if (own is not null && !device.MeasuresProducts)
            return new ProductChoice(null, double.NaN);
        string key = Key(shape, own);
        if (Kept(key) is { } choice)
        {
            unloaded[shape] = true;
            return choice;
        }
        if (device.Alone(() => measuring.Fastest(shape, product, own)) is not { } best)
            return null;
        if (best.IsMeasured)
            CubinCache.Keep(key, best.ToBytes());
        return best;
    });

    /// <summary>Whether what is chosen for a shape will have to be measured.</summary>
    public bool IsOpen(ProductShape shape, CudaOwnProduct? own) => !chosen.ContainsKey((shape, own is not null)) && Kept(Key(shape, own)) is null;

    /// <summary>Whether nobody has launched yet what is chosen for a shape; true once.</summary>
    public bool TakeUnloaded(ProductShape shape) => unloaded.TryRemove(shape, out _);

    /// <summary>That products take as one, on memory of their own; not a number where there is no room to measure.</summary>
    public double Seconds(CudaDeferredProduct joined, IReadOnlyList<DeferredPart> parts)
    {
        string key = $"{string.Join('\n', parts.Select(p => p.Shape))}\n{device.Information.Name}\n{joined.Key}";
        return together.GetOrAdd(key, _ =>
        {
            if (Kept(key) is { } choice)
                return choice.Seconds;
            double seconds = device.Alone(() => measuring.Seconds(joined, parts));
            if (!double.IsNaN(seconds))
                CubinCache.Keep(key, new ProductChoice(null, seconds).ToBytes());
            return seconds;
        });
    }

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
        Release();
    }

    /// <summary>What cuBLASLt proposes first.</summary>
    public ProductAlgorithm[] Proposed(CudaProduct product)
    {
        ProductProposal* proposals = stackalloc ProductProposal[Proposals];
        CublasLt.Check(CublasLt.PreferenceCreate(out nint preference), "describing a preference");
        nuint most = (nuint)WorkspaceBytes;
        CublasLt.Check(CublasLt.PreferenceSetAttribute(preference, CublasLt.MaxWorkspaceBytes, &most, (nuint)sizeof(nuint)), "describing a preference");
        uint schemes = CublasLt.ReducesExactly;
        CublasLt.Check(CublasLt.PreferenceSetAttribute(preference, CublasLt.ReductionSchemes, &schemes, sizeof(uint)), "describing a preference");
        int status = CublasLt.Propose(
            handle, product.Description, product.A, product.B, product.C, product.C, preference, Proposals, proposals, out int given);
        _ = CublasLt.PreferenceDestroy(preference);
        return status == 0 ? [.. new ReadOnlySpan<ProductProposal>(proposals, given).ToArray().Select(p => p.Algorithm)] : [];
    }

    private string Key(ProductShape shape, CudaOwnProduct? own) =>
        $"{shape}\n{device.Information.Name}\n{CublasLt.GetVersion()} {CublasLt.ReducesExactly}\n{own?.Key}";

    private static ProductChoice? Kept(string key) => CubinCache.Find(key) is { } kept ? ProductChoice.Of(kept) : null;

    private void Release()
    {
        if (handle != 0)
            _ = CublasLt.Destroy(handle);
    }
}
