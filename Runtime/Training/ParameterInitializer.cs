using System.Buffers;
using System.Runtime.InteropServices;
using Legato.Runtime.Checkpoints;
using Legato.Runtime.Data;
using Legato.Runtime.Plans;

namespace Legato.Runtime.Training;

/// <summary>
/// Gives parameters their first values: each element is a function of the seed, the parameter's path and the element's
/// index, so that they depend neither on threads nor on what other parameters there are.
/// </summary>
public static class ParameterInitializer
{
    private const int ChunkElements = 1 << 18;

    /// <summary>Fills every parameter of the model.</summary>
    public static void Fill(ModelDescription model, Func<string, ParameterMemory> parameter, long seed)
    {
        // All parameters' pieces together: those of one small parameter would occupy few threads.
        Piece[] pieces = [.. model.Parameters.SelectMany(p => PiecesOf(p, parameter(p.Path), seed))];
        Parallel.ForEach(pieces, Fill);
        Timeline.Mark("parameters initialised");
    }

    private static IEnumerable<Piece> PiecesOf(PlanParameter declared, ParameterMemory target, long seed)
    {
        var random = new CounterRandom(seed, declared.Path);
        for (long start = 0; start < declared.Elements; start += ChunkElements)
            yield return new Piece(declared, target, random, start);
    }

    private static void Fill(Piece piece)
    {
        (PlanParameter parameter, ParameterMemory target, CounterRandom random, long start) = piece;
        // Rented: the pieces of a large model would be garbage by the gigabyte.
        float[] rented = ArrayPool<float>.Shared.Rent(ChunkElements);
        Span<float> values = rented.AsSpan(0, (int)Math.Min(ChunkElements, parameter.Elements - start));
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
        ReadOnlySpan<byte> wide = MemoryMarshal.AsBytes(values);
        if (target.Type == ScalarType.F32)
        {
            target.Memory.Write(start * sizeof(float), wide);
        }
        else
        {
            byte[] narrow = ArrayPool<byte>.Shared.Rent(ChunkElements * sizeof(float));
            Span<byte> bytes = narrow.AsSpan(0, values.Length * target.Type.Size());
            ElementConversion.Convert(TensorType.F32, wide, target.Type, bytes);
            target.Memory.Write(start * target.Type.Size(), bytes);
            ArrayPool<byte>.Shared.Return(narrow);
        }
        ArrayPool<float>.Shared.Return(rented);
    }

    // Chunks start at even elements: each pair of normals comes from one pair of words.
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

    /// <summary>Elements of a parameter from <paramref name="Start"/> on.</summary>
    private readonly record struct Piece(PlanParameter Declared, ParameterMemory Target, CounterRandom Random, long Start);
}
