using System.Runtime.InteropServices;
using Legato.Runtime.Plans;

namespace Legato.Runtime.Cuda;

/// <summary>Measures ways to compute a product, on memory of its own: how long they take, and which of them round alike.</summary>
internal sealed class CudaProductMeasuring(CudaDevice device, CudaProducts products)
{
    private const int Rounds = 3;
    /// <summary>What takes longer than this many times the fastest at first sight isn't timed again.</summary>
    private const double Near = 1.3;
    private const int WordBytes = 4, Threads = 256;
    private const string Filling = "RandomWords.cu", Digesting = "DigestWords.cu";

    /// <summary>Of the kernels that measuring takes.</summary>
    public static IReadOnlyList<string> Sources => [CudaCompiler.Resource(Filling), CudaCompiler.Resource(Digesting)];

    /// <summary>Has them compiled.</summary>
    public static void Prepare(CudaDevice device) => device.Compiler.Load(Sources);

    /// <summary>
    /// One of cuBLASLt's proposals or our own kernel (<see cref="MeasuredChoice"/>); our own, if there is one, where there is no room to measure.
    /// </summary>
    public ProductChoice? Fastest(ProductShape shape, CudaProduct product, CudaOwnProduct? own)
    {
        List<ProductChoice> choices = [.. products.Proposed(product).Select(algorithm => new ProductChoice(algorithm, double.NaN))];
        if (own is not null)
            choices.Add(new ProductChoice(null, double.NaN));
        if (choices.Count == 0)
            return null;
        if (product.Bytes.A + product.Bytes.B + product.Bytes.C > device.BytesFree / 2)
            return choices[own is null ? 0 : ^1];

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
                return products.Multiply(product, algorithm, a.Address, b.Address, c.Address, c.Address, device.Stream) == 0;
            own!.Enqueue(device.Stream);
            return true;
        }

        MeasuredWay[] ways = [.. choices.Select(choice =>
        {
            // A product may add to what it finds.
            Fill(c);
            return new MeasuredWay(double.PositiveInfinity, Start(choice) ? Digest(c) : 0);
        })];
        // Twice through all: clocks take a while to rise.
        void Turns(IReadOnlyList<int> places, int rounds)
        {
            for (int turn = 0; turn < 2; turn++)
                foreach (int i in places)
                    if (Time(stopwatch, () => Start(choices[i]), rounds) is { } seconds)
                        ways[i] = ways[i] with { Seconds = Math.Min(ways[i].Seconds, seconds) };
        }

        Turns([.. Enumerable.Range(0, ways.Length)], rounds: 1);
        double fastest = ways.Min(way => way.Seconds);
        Turns([.. Enumerable.Range(0, ways.Length).Where(i => ways[i].Seconds <= fastest * Near)], Rounds);
        int at = MeasuredChoice.Of(ways);
        return choices[at] with { Seconds = ways[at].Seconds };
    }

    /// <summary>That products take as one; not a number where there is no room to measure.</summary>
    public double Seconds(CudaDeferredProduct joined, IReadOnlyList<DeferredPart> parts)
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
            return Time(stopwatch, Start, Rounds) ?? double.NaN;
        }
        finally
        {
            memory.ForEach(m => m.Dispose());
        }
    }

    /// <summary>The shortest of a few runs after a first one; null if that fails.</summary>
    private double? Time(CudaStopwatch stopwatch, Func<bool> start, int rounds)
    {
        if (!start())
            return null;
        double best = double.PositiveInfinity;
        for (int round = 0; round < rounds; round++)
        {
            stopwatch.Start(0, device.Stream);
            _ = start();
            stopwatch.Stop(0, device.Stream);
            device.Synchronize("measuring products");
            best = Math.Min(best, stopwatch.Read(0));
        }
        return best;
    }

    private CudaMemory Filled(long bytes)
    {
        var memory = new CudaMemory(device, bytes + WordBytes);
        Fill(memory);
        return memory;
    }

    /// <summary>Random numbers between 1/2 and 1 of either sign, or about 2 in fp16: alike ones would draw less power and run faster than what is to come.</summary>
    private void Fill(CudaMemory memory)
    {
        long words = memory.Bytes / WordBytes;
        var call = new CudaCall(device.Compiler.Load(CudaCompiler.Resource(Filling)).Function("random_words"), 2, "filling memory")
        {
            Threads = Threads,
            BlocksX = (words + Threads - 1) / Threads,
        };
        (call.Arguments[0], call.Arguments[1]) = (memory.Address, words);
        call.Enqueue(device.Stream);
    }

    /// <summary>Of the bits of a product.</summary>
    private ulong Digest(CudaMemory memory)
    {
        const int blocks = 1024;
        using var digest = new CudaMemory(device, sizeof(ulong));
        var call = new CudaCall(device.Compiler.Load(CudaCompiler.Resource(Digesting)).Function("digest_words"), 3, "comparing products")
        {
            Threads = Threads,
            BlocksX = blocks,
        };
        (call.Arguments[0], call.Arguments[1], call.Arguments[2]) = (memory.Address, memory.Bytes / WordBytes, digest.Address);
        call.Enqueue(device.Stream);
        device.Synchronize("comparing products");
        ulong sum = 0;
        digest.Read(0, MemoryMarshal.AsBytes(new Span<ulong>(ref sum)));
        return sum;
    }
}
