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
/// choice is kept on disk, so that runs from then on give the same bits. Where there is no room to measure, it is the first of them.
/// </summary>
internal sealed unsafe class CudaProducts : IDisposable
{
    /// <summary>What NVIDIA advises for Hopper.</summary>
    public const long WorkspaceBytes = 32 << 20;

    private const int Proposals = 16, Rounds = 3;

    private readonly CudaDevice device;
    private readonly ConcurrentDictionary<(ProductShape Shape, bool HasOwn), ProductChoice?> chosen = new();
    private readonly ConcurrentDictionary<ProductShape, bool> unloaded = new();
    private readonly ConcurrentDictionary<string, double> together = new();
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

    /// <summary>How to compute a shape; null where cuBLASLt has no algorithm, and there is no kernel of our own.</summary>
    /// <param name="own">Our own, where it computes that shape.</param>
    public ProductChoice? Choose(ProductShape shape, CudaProduct product, CudaOwnProduct? own) => chosen.GetOrAdd((shape, own is not null), _ =>
    {
        if (own is not null && !device.MeasuresProducts)
            return new ProductChoice(null, double.NaN);
        string key = $"{shape}\n{device.Information.Name}\n{CublasLt.GetVersion()} {CublasLt.ReducesExactly}\n{own?.Key}";
        if (CubinCache.Find(key) is { } kept && ProductChoice.Of(kept) is { } choice)
        {
            unloaded[shape] = true;
            return choice;
        }
        device.FinishLoading();
        if (Measured(shape, product, own) is not { } best)
            return null;
        if (best.IsMeasured)
            CubinCache.Keep(key, best.ToBytes());
        return best;
    });

    /// <summary>Whether nobody has launched yet what is chosen for a shape; true once.</summary>
    public bool TakeUnloaded(ProductShape shape) => unloaded.TryRemove(shape, out _);

    /// <summary>That products take as one, on memory of their own; not a number where there is no room to measure.</summary>
    public double Seconds(CudaDeferredProduct joined, IReadOnlyList<DeferredPart> parts)
    {
        string key = $"{string.Join('\n', parts.Select(p => p.Shape))}\n{device.Information.Name}\n{joined.Key}";
        return together.GetOrAdd(key, _ =>
        {
            if (CubinCache.Find(key) is { } kept && ProductChoice.Of(kept) is { } choice)
                return choice.Seconds;
            device.FinishLoading();
            double seconds = Measured(joined, parts);
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
        _ = CublasLt.Destroy(handle);
    }

    /// <summary>Our own kernel or one of the proposals, measured on memory of their own (<see cref="MeasuredChoice"/>).</summary>
    private ProductChoice? Measured(ProductShape shape, CudaProduct product, CudaOwnProduct? own)
    {
        List<ProductChoice> choices = own is null ? [] : [new ProductChoice(null, double.NaN)];
        choices.AddRange(Proposed(product).Select(algorithm => new ProductChoice(algorithm, double.NaN)));
        if (choices.Count == 0)
            return null;
        if (product.Bytes.A + product.Bytes.B + product.Bytes.C > device.BytesFree / 2)
            return choices[0];

        using CudaMemory a = Filled(product.Bytes.A), b = Filled(product.Bytes.B), c = Filled(product.Bytes.C);
        using CudaMemory? input = shape.Activation == ProductActivation.None ? null : Filled(shape.InputLeading * shape.Columns * shape.C.Type.Size());
        using var stopwatch = new CudaStopwatch(1);
        if (input is not null)
            product.SetInput(input.Address);
        own?.Bind(shape, new ProductAddresses(b.Address, a.Address, c.Address, c.Address, a.Address));
        if (shape.HasBias)
            product.SetBias(a.Address);
        bool Start(ProductChoice choice)
        {
            if (choice.Library is { } algorithm)
                return Multiply(product, algorithm, a.Address, b.Address, c.Address, c.Address, device.Stream) == 0;
            own!.Enqueue(device.Stream);
            return true;
        }

        double[] seconds = [.. choices.Select(choice => Time(stopwatch, () => Start(choice)) ?? double.PositiveInfinity)];
        int at = MeasuredChoice.Of(seconds);
        return choices[at] with { Seconds = seconds[at] };
    }

    private double Measured(CudaDeferredProduct joined, IReadOnlyList<DeferredPart> parts)
    {
        (long Left, long Right, long Output)[] bytes = [.. parts.Select(p => (
            p.Shape.B.Bytes(p.Shape.Depth, p.Shape.Columns, 1), p.Shape.A.Bytes(p.Shape.Rows, p.Shape.Depth, 1), p.Shape.C.Bytes(p.Shape.Rows, p.Shape.Columns, 1)))];
        if (bytes.Sum(b => b.Left + b.Right + b.Output) > device.BytesFree / 2)
            return double.NaN;
        List<CudaMemory> memory = [];
        try
        {
            nint Place(long size)
            {
                memory.Add(Filled(size));
                return memory[^1].Address;
            }
            joined.Bind([.. parts.Select((p, i) => p with { Left = Place(bytes[i].Left), Right = Place(bytes[i].Right), Output = Place(bytes[i].Output), Bias = Place(bytes[i].Right) })]);
            using var stopwatch = new CudaStopwatch(1);
            bool Start()
            {
                joined.Enqueue(device.Stream);
                return true;
            }
            return Time(stopwatch, Start) ?? double.NaN;
        }
        finally
        {
            memory.ForEach(m => m.Dispose());
        }
    }

    private ProductAlgorithm[] Proposed(CudaProduct product)
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

    /// <summary>The shortest of a few runs after a first one; null if that fails.</summary>
    private double? Time(CudaStopwatch stopwatch, Func<bool> start)
    {
        if (!start())
            return null;
        double best = double.PositiveInfinity;
        for (int round = 0; round < Rounds; round++)
        {
            stopwatch.Start(0, device.Stream);
            _ = start();
            stopwatch.Stop(0, device.Stream);
            device.Synchronize("measuring products");
            best = Math.Min(best, stopwatch.Read(0));
        }
        return best;
    }

    /// <summary>Random numbers between 1/2 and 1, or about 2 in fp16: alike ones would draw less power and run faster than what is to come.</summary>
    private CudaMemory Filled(long bytes)
    {
        const int wordBytes = 4, threads = 256;
        var memory = new CudaMemory(device, bytes + wordBytes);
        long words = bytes / wordBytes + 1;
        var call = new CudaCall(device.Compiler.Load(CudaCompiler.Resource("RandomWords.cu")).Function("random_words"), 2, "filling memory")
        {
            Threads = threads,
            BlocksX = (words + threads - 1) / threads,
        };
        (call.Arguments[0], call.Arguments[1]) = (memory.Address, words);
        call.Enqueue(device.Stream);
        return memory;
    }
}
