using System.Globalization;
using System.Text.Json;

namespace Legato.Runtime.Checkpoints;

/// <summary>
/// Writes a folder's weights: one file, or where they are larger than a shard may be, several and an index that says
/// which tensor lies where.
/// </summary>
internal static class CheckpointWriter
{
    private static readonly Dictionary<string, string> Metadata = new() { ["format"] = "pt" };

    /// <param name="shardBytes">The most that a file's tensors take together; one larger tensor is a shard of its own.</param>
    /// <exception cref="LegatoException">A file can't be written.</exception>
    public static void Write(string folder, IEnumerable<TensorToWrite> tensors, long shardBytes)
    {
        List<List<TensorToWrite>> shards = Shards(tensors, shardBytes);
        string[] names = [.. shards.Select((_, i) => shards.Count == 1 ? CheckpointFolder.WeightsFile : ShardName(i, shards.Count))];
        for (int i = 0; i < shards.Count; i++)
            SafetensorsWriter.Write(Path.Combine(folder, names[i]), shards[i], Metadata);
        if (shards.Count > 1)
            AtomicWrite.File(Path.Combine(folder, CheckpointFolder.IndexFile), stream => WriteIndex(stream, shards, names));
        RemoveOthers(folder, names);
    }

    private static List<List<TensorToWrite>> Shards(IEnumerable<TensorToWrite> tensors, long shardBytes)
    {
        var shards = new List<List<TensorToWrite>> { new() };
        long held = 0;
        foreach (TensorToWrite tensor in tensors)
        {
            if (held + tensor.Bytes > shardBytes && shards[^1].Count > 0)
            {
                shards.Add([]);
                held = 0;
            }
            shards[^1].Add(tensor);
            held += tensor.Bytes;
        }
        return shards;
    }

    private static string ShardName(int index, int count) =>
        string.Create(CultureInfo.InvariantCulture, $"model-{index + 1:D5}-of-{count:D5}.safetensors");

    private static void WriteIndex(Stream stream, List<List<TensorToWrite>> shards, string[] names)
    {
        using var json = new Utf8JsonWriter(stream, new JsonWriterOptions { Indented = true });
        json.WriteStartObject();
        json.WriteStartObject("metadata");
        json.WriteNumber("total_size", shards.Sum(shard => shard.Sum(t => t.Bytes)));
        json.WriteEndObject();
        json.WriteStartObject("weight_map");
        foreach ((string tensor, string file) in shards
            .SelectMany((shard, i) => shard.Select(t => (t.Name, File: names[i])))
            .OrderBy(entry => entry.Name, StringComparer.Ordinal))
            json.WriteString(tensor, file);
        json.WriteEndObject();
        json.WriteEndObject();
    }

    // What an earlier save left under other names would be read instead, or lie there for nothing.
    private static void RemoveOthers(string folder, string[] kept)
    {
        if (kept.Length == 1)
            File.Delete(Path.Combine(folder, CheckpointFolder.IndexFile));
        IEnumerable<string> old = Directory.EnumerateFiles(folder, "model-?????-of-?????.safetensors")
            .Append(Path.Combine(folder, CheckpointFolder.WeightsFile));
        foreach (string file in old.Where(f => !kept.Contains(Path.GetFileName(f))).ToList())
            File.Delete(file);
    }
}
