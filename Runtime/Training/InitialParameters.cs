using System.Buffers;
using System.Runtime.InteropServices;
using Legato.Runtime.Checkpoints;
using Legato.Runtime.Data;
using Legato.Runtime.Plans;

namespace Legato.Runtime.Training;

/// <summary>
/// The first values of a model's parameters: each element is a function of the seed, the parameter's path and the element's
/// index, so that they depend neither on threads nor on what other parameters there are. They are made in the background from
/// the beginning on, while plans are compiled and a GPU is opened; as many as memory should hold, the others as they are wanted.
/// </summary>
public sealed class InitialParameters
{
    private const int PieceElements = 1 << 18;

    /// <summary>Pieces that wait for the memory that they go to: 1 GiB less one.</summary>
    private const int MostAhead = (1 << 10) - 1;

    private readonly Piece[] pieces;
    private readonly Lazy<bool>[] made;
    private float[]? ahead;

    public InitialParameters(ModelDescription model, long seed)
    {
        // All parameters' pieces together: those of one small parameter would occupy few threads.
        pieces = [.. model.Parameters.SelectMany(p => PiecesOf(p, seed))];
        int count = Math.Min(pieces.Length, MostAhead);
        // One array: many would have the garbage collector stop those that compile meanwhile.
        float[] values = GC.AllocateUninitializedArray<float>(count * PieceElements);
        ahead = values;
        made = [.. Enumerable.Range(0, count).Select(i => new Lazy<bool>(() => Make(pieces[i], Part(values, i))))];
        var some = new ParallelOptions { MaxDegreeOfParallelism = Math.Max(1, Environment.ProcessorCount / 2) };
        _ = Task.Run(() => Parallel.For(0, count, some, i => _ = made[i].Value));
    }

    /// <summary>Writes them, once.</summary>
    public void Write(Func<string, ParameterMemory> parameter)
    {
        Dictionary<string, ParameterMemory> targets = pieces.Select(p => p.Declared.Path).Distinct().ToDictionary(path => path, parameter);
        float[] values = Interlocked.Exchange(ref ahead, null) ?? throw new InvalidOperationException("first values are written once");
        Parallel.For(0, pieces.Length, i =>
        {
            ParameterMemory target = targets[pieces[i].Declared.Path];
            if (i < made.Length && made[i].Value)
                Write(pieces[i], target, Part(values, i));
            else
                MakeAndWrite(pieces[i], target);
        });
        Timeline.Mark("parameters initialised");
    }

    // Rented: the pieces of a large model would be garbage by the gigabyte.
    private static void MakeAndWrite(Piece piece, ParameterMemory target)
    {
        float[] rented = ArrayPool<float>.Shared.Rent(PieceElements);
        _ = Make(piece, rented);
        Write(piece, target, rented);
        ArrayPool<float>.Shared.Return(rented);
    }

    private static Span<float> Part(float[] values, int index) => values.AsSpan(index * PieceElements, PieceElements);

    private static IEnumerable<Piece> PiecesOf(PlanParameter declared, long seed)
    {
        var random = new CounterRandom(seed, declared.Path);
        for (long start = 0; start < declared.Elements; start += PieceElements)
            yield return new Piece(declared, random, start, (int)Math.Min(PieceElements, declared.Elements - start));
    }

    private static bool Make(Piece piece, Span<float> room)
    {
        (PlanParameter parameter, CounterRandom random, long start, int count) = piece;
        Span<float> values = room[..count];
        (InitializerKind kind, float value) = (parameter.Initializer.Kind, (float)parameter.Initializer.Value);
        switch (kind)
        {
            case InitializerKind.Normal:
                FillNormal(values, random, start, value);
                break;
            case InitializerKind.Uniform:
                for (int i = 0; i < values.Length; i++)
                    values[i] = value * (2 * random.Uniform((ulong)(start + i)) - 1);
                break;
            default:
                values.Fill(kind == InitializerKind.Zeros ? 0 : kind == InitializerKind.Ones ? 1 : value);
                break;
        }
        return true;
    }

    private static void Write(Piece piece, ParameterMemory target, ReadOnlySpan<float> values)
    {
        ReadOnlySpan<byte> wide = MemoryMarshal.AsBytes(values[..piece.Count]);
        if (target.Type == ScalarType.F32)
        {
            target.Memory.Write(piece.Start * sizeof(float), wide);
            return;
        }
        byte[] rented = ArrayPool<byte>.Shared.Rent(PieceElements * sizeof(float));
        Span<byte> narrow = rented.AsSpan(0, piece.Count * target.Type.Size());
        ElementConversion.Convert(TensorType.F32, wide, target.Type, narrow);
        target.Memory.Write(piece.Start * target.Type.Size(), narrow);
        ArrayPool<byte>.Shared.Return(rented);
    }

    // Pieces start at even elements: each pair of normals comes from one pair of words.
    private static void FillNormal(Span<float> values, CounterRandom random, long start, float deviation)
    {
        for (int i = 0; i < values.Length; i += 2)
        {
            (float first, float second) = random.NormalPair((ulong)(start + i) / 2);
            values[i] = deviation * first;
            if (i + 1 < values.Length)
                values[i + 1] = deviation * second;
        }
    }

    /// <summary>So many elements of a parameter from <paramref name="Start"/> on.</summary>
    private readonly record struct Piece(PlanParameter Declared, CounterRandom Random, long Start, int Count);
}
