using Legato.Runtime.Checkpoints;
using Legato.Runtime.Plans;

namespace Legato.Tests;

/// <summary>Models for tests of checkpoints, and a small one with its tensors.</summary>
internal static class CheckpointModels
{
    public static readonly ModelDescription Small = Model(
        [Parameter("wte", 4, 3), Parameter("blocks.q", 2, 3, 2, 1), Parameter("blocks.k", 2, 3, 2), Parameter("blocks.up", 2, 3, 5), Parameter("norm", 3)],
        [
            new WeightSource("wte", "wte.weight"),
            new WeightSource("blocks.q", "h.{0}.qk.weight", Part: new WeightPart(1, 0, 2), Grouping: [1, 2]),
            new WeightSource("blocks.k", "h.{0}.qk.weight", Part: new WeightPart(1, 2, 2)),
            new WeightSource("blocks.up", "h.{0}.up.weight", Transposed: true),
            new WeightSource("norm", "norm.weight"),
        ],
        ["transformer.", ""],
        ["h.{0}.mask", "lm_head.weight"]);

    private static readonly Dictionary<string, long[]> SmallShapes = new()
    {
        ["wte.weight"] = [4, 3],
        ["qk.weight"] = [3, 4],
        ["up.weight"] = [5, 3],
        ["norm.weight"] = [3],
        ["mask"] = [2],
    };

    public static PlanParameter Parameter(string path, params long[] sizes) =>
        new(path, [.. sizes.Select((s, i) => new PlanAxis($"axis{i}", s))], new Initializer(InitializerKind.Zeros, 0), true, []);

    public static ModelDescription Model(PlanParameter[] parameters, WeightSource[] sources, string[]? prefixes = null, string[]? ignored = null) =>
        new("test", "{}", 256, 64, null, [], parameters, new WeightMap(sources, prefixes ?? [""], ignored ?? []));

    public static float[] Numbers(int count, int from) => [.. Enumerable.Range(from, count).Select(i => (float)i)];

    /// <summary>The small model's, as its checkpoint names them.</summary>
    public static Dictionary<string, float[]> SmallTensors(string prefix) => new()
    {
        [prefix + "wte.weight"] = Numbers(12, 0),
        [prefix + "h.0.qk.weight"] = Numbers(12, 100),
        [prefix + "h.1.qk.weight"] = Numbers(12, 200),
        [prefix + "h.0.up.weight"] = Numbers(15, 300),
        [prefix + "h.1.up.weight"] = Numbers(15, 400),
        [prefix + "norm.weight"] = Numbers(3, 500),
    };

    /// <summary>Writes a file of tensors to a folder that it makes; those without a shape have the small model's.</summary>
    public static string Write(TemporaryFolder folder, string name, Dictionary<string, float[]> tensors, Dictionary<string, long[]>? shapes = null)
    {
        string path = folder.File(name);
        Directory.CreateDirectory(path);
        SafetensorsWriter.Write(
            Path.Combine(path, "model.safetensors"),
            tensors.Select(t => SafetensorsTests.Singles(t.Key, Shape(t.Key, shapes), t.Value)),
            new Dictionary<string, string> { ["format"] = "pt" });
        return path;
    }

    public static long[] Shape(string name, Dictionary<string, long[]>? shapes) =>
        shapes is not null && shapes.TryGetValue(name, out long[]? shape) ? shape : SmallShapes.First(s => name.EndsWith(s.Key)).Value;
}

/// <summary>Memory of a model's parameters, which are read as floats.</summary>
internal sealed class Memories(ModelDescription model, ScalarType type = ScalarType.F32)
{
    private readonly Dictionary<string, ArrayMemory> byPath =
        model.Parameters.ToDictionary(p => p.Path, p => new ArrayMemory(p.Elements * type.Size()));

    public ParameterMemory Parameter(string path) => new(byPath[path], type);

    public float[] Singles(string path)
    {
        byte[] content = byPath[path].Content;
        var values = new float[content.Length / type.Size()];
        ElementConversion.ToSingle(type.TensorType(), content, values);
        return values;
    }
}
