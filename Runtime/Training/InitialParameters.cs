using System.Buffers;
using System.Runtime.InteropServices;
using Legato.Runtime.Checkpoints;
using Legato.Runtime.Data;
using Legato.Runtime.Plans;

namespace Legato.Runtime.Training;

/// <summary>
/// The first values of a model's parameters: each element is a function of the seed, the parameter's path and the element's
/// index, so that they depend neither on threads nor on what other parameters there are.
/// </summary>
public static class InitialParameters
{
    private const int PieceElements = 1 << 18;

    /// <summary>Makes and writes them. Each thread holds a MiB of them at a time.</summary>
    public static void Write(ModelDescription model, long seed, Func<string, ParameterMemory> parameter)
    {
        // All parameters' pieces together: those of one small parameter would occupy few threads.
        Piece[] pieces = [.. model.Parameters.SelectMany(p => PiecesOf(p, parameter(p.Path), seed))];
        Parallel.ForEach(pieces, Write);
        Timeline.Mark("parameters initialised");
    }

    private static IEnumerable<Piece> PiecesOf(PlanParameter declared, ParameterMemory target, long seed)
    {
        var random = new CounterRandom(seed, declared.Path);
        for (long start = 0; start < declared.Elements; start += PieceElements)
            yield return new Piece(declared.Initializer, target, random, start, (int)Math.Min(PieceElements, declared.Elements - start));
    }

    // Rented: the pieces of a large model would be garbage by the gigabyte.
    private static void Write(Piece piece)
    {
        float[] rented = ArrayPool<float>.Shared.Rent(PieceElements);
        Span<float> values = rented.AsSpan(0, piece.Count);
        Fill(values, piece);
        piece.Target.WriteRounded(piece.Start, values);
        ArrayPool<float>.Shared.Return(rented);
    }

    private static void Fill(Span<float> values, Piece piece)
    {
        float value = (float)piece.Initializer.Value;
        switch (piece.Initializer.Kind)
        {
            case InitializerKind.Normal:
                // Pieces start at even elements: each pair of normals comes from one pair of words.
                NormalVectors.Fill(values, piece.Random, (ulong)piece.Start / 2, value);
                break;
            case InitializerKind.Uniform:
                for (int i = 0; i < values.Length; i++)
                    values[i] = value * (2 * piece.Random.Uniform((ulong)(piece.Start + i)) - 1);
                break;
            case InitializerKind.Zeros:
                values.Clear();
                break;
            default:
                values.Fill(piece.Initializer.Kind == InitializerKind.Ones ? 1 : value);
                break;
        }
    }

    /// <summary>So many elements of a parameter from <paramref name="Start"/> on.</summary>
    private readonly record struct Piece(Initializer Initializer, ParameterMemory Target, CounterRandom Random, long Start, int Count);
}
