using System.Text.Json;

namespace Legato.Runtime.Checkpoints;

/// <summary>
/// The weights of a folder in the Hugging Face layout: <c>model.safetensors</c>, or shards that
/// <c>model.safetensors.index.json</c> lists. Tensors are found by name, whichever file holds them.
/// </summary>
public sealed class CheckpointFolder : ITensorSource
{
    public const string ConfigFile = "config.json";
    public const string WeightsFile = "model.safetensors";
    public const string IndexFile = "model.safetensors.index.json";

    private readonly List<SafetensorsFile> files = [];
    private readonly Dictionary<string, StoredTensor> tensors = new(StringComparer.Ordinal);

    /// <param name="weights">The file of the weights, where it is another than the layout's own.</param>
    /// <exception cref="LegatoException">The folder, its weights or a shard is missing or damaged.</exception>
    public CheckpointFolder(string path, string weights = WeightsFile)
    {
        Path = path;
        if (!Directory.Exists(path))
            throw new LegatoException("there is no such checkpoint folder", path, "check the path");
        string single = System.IO.Path.Combine(path, weights);
        string index = System.IO.Path.Combine(path, IndexFile);
        try
        {
            if (weights == WeightsFile && File.Exists(index))
                OpenShards(index);
            else if (File.Exists(single))
                Add(new SafetensorsFile(single), null);
            else
                throw new LegatoException(
                    "the folder holds no weights", path, $"a checkpoint has a {weights}, or shards and their {IndexFile}");
            ScaledBlocks.Join(tensors, path);
        }
        catch
        {
            Dispose();
            throw;
        }
    }

    public string Path { get; }

    public IEnumerable<string> Names => tensors.Keys;

    /// <summary>The tensor of that name, or null.</summary>
    public StoredTensor? Find(string name) => tensors.GetValueOrDefault(name);

    /// <summary>The text of a folder's config.json.</summary>
    /// <exception cref="LegatoException">The folder or the file is missing or can't be read.</exception>
    public static string ReadConfig(string folder)
    {
        string path = System.IO.Path.Combine(folder, ConfigFile);
        try
        {
            return File.ReadAllText(path);
        }
        catch (Exception e) when (e is FileNotFoundException or DirectoryNotFoundException)
        {
            throw new LegatoException($"the folder has no {ConfigFile}", path, "MODEL is a preset's name or a folder with a config.json and weights", e);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new LegatoException("the checkpoint's configuration can't be read", path, "MODEL is a preset's name or a folder with a config.json and weights", e);
        }
    }

    public void Dispose()
    {
        foreach (SafetensorsFile file in files)
            file.Dispose();
    }

    private void OpenShards(string index)
    {
        Dictionary<string, HashSet<string>> shards = ReadIndex(index);
        string[] missing = [.. shards.Keys.Where(f => !File.Exists(System.IO.Path.Combine(Path, f))).Order(StringComparer.Ordinal)];
        if (missing.Length > 0)
            throw new LegatoException($"{missing.Length} of {shards.Count} shards are missing: {string.Join(", ", missing)}", Path, "fetch them too");
        foreach ((string name, HashSet<string> expected) in shards.OrderBy(s => s.Key, StringComparer.Ordinal))
            Add(new SafetensorsFile(System.IO.Path.Combine(Path, name)), expected);
    }

    private void Add(SafetensorsFile file, HashSet<string>? expected)
    {
        files.Add(file);
        if (expected?.FirstOrDefault(name => file.Find(name) is null) is { } absent)
            throw new LegatoException($"the index puts tensor '{absent}' here, and it isn't", file.Path, "fetch the shard and the index anew");
        foreach (TensorInfo tensor in file.Tensors)
            if (expected is null || expected.Contains(tensor.Name))
                tensors.Add(tensor.Name, file.Stored(tensor));
    }

    private static Dictionary<string, HashSet<string>> ReadIndex(string index)
    {
        var shards = new Dictionary<string, HashSet<string>>(StringComparer.Ordinal);
        try
        {
            using JsonDocument json = JsonDocument.Parse(File.ReadAllText(index));
            foreach (JsonProperty entry in json.RootElement.GetProperty("weight_map").EnumerateObject())
            {
                string file = entry.Value.GetString() ?? "";
                if (file.Length == 0 || file != System.IO.Path.GetFileName(file))
                    throw new LegatoException($"the index names the file '{file}', which is no file of this folder", index, "fetch the index anew");
                if (!shards.TryGetValue(file, out HashSet<string>? names))
                    shards.Add(file, names = new HashSet<string>(StringComparer.Ordinal));
                names.Add(entry.Name);
            }
        }
        catch (JsonException e)
        {
            throw new LegatoException($"the index of the shards is no JSON: line {e.LineNumber + 1} can't be read", index, "fetch it anew", e);
        }
        catch (Exception e) when (e is KeyNotFoundException or InvalidOperationException)
        {
            throw new LegatoException("the index of the shards has no weight_map that names the file of each tensor", index, "fetch it anew", e);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new LegatoException($"the index of the shards can't be read: {FileHindrance.Of(e, index)}", index, "fetch it anew", e);
        }
        // A name that stands twice lands in two shards' sets and would be added twice.
        if (shards.Values.SelectMany(n => n).GroupBy(n => n, StringComparer.Ordinal).FirstOrDefault(g => g.Count() > 1) is { } twice)
            throw new LegatoException($"the index lists tensor '{twice.Key}' twice", index, "fetch the index anew");
        return shards;
    }
}
