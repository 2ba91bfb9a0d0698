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
        foreach (PlanParameter declared in model.Parameters)
        {
            ParameterMemory target = parameter(declared.Path);
            var random = new CounterRandom(seed, declared.Path);
            int chunks = (int)((declared.Elements + ChunkElements - 1) / ChunkElements);
            Parallel.For(0, chunks, chunk => FillChunk(declared, target, random, (long)chunk * ChunkElements));
        }
        Timeline.Mark("parameters initialised");
    }

    private static void FillChunk(PlanParameter parameter, ParameterMemory target, CounterRandom random, long start)
    {
        var values = new float[(int)Math.Min(ChunkElements, parameter.Elements - start)];
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
                values.AsSpan().Fill(kind == InitializerKind.Zeros ? 0 : kind == InitializerKind.Ones ? 1 : value);
                break;
        }
        byte[] bytes = new byte[values.Length * target.Type.Size()];
        ElementConversion.Convert(TensorType.F32, MemoryMarshal.AsBytes<float>(values), target.Type, bytes);
        target.Memory.Write(start * target.Type.Size(), bytes);
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
}
