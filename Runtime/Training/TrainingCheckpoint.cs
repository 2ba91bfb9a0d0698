using System.Buffers;
using System.Text.Json;
using Legato.Runtime.Checkpoints;
using Legato.Runtime.Devices;
using Legato.Runtime.Plans;
using Legato.Runtime.Text;

namespace Legato.Runtime.Training;

/// <summary>
/// A checkpoint that training can go on from: the Hugging Face layout, the optimizer's moments in
/// <c>optimizer.safetensors</c> under their buffers' names, and <see cref="TrainingState"/>. Where there are masters, they
/// are the weights.
/// </summary>
internal static class TrainingCheckpoint
{
    private const string OptimizerFile = "optimizer.safetensors";
    private const int ChunkBytes = 4 << 20;
    private const string Remedy = "the checkpoint is damaged: put the file back as it was written";

    public static void Write(string folder, ModelDescription model, ModelMemory memory, TrainingState state, Tokenizer? tokenizer)
    {
        HubCheckpoint.Save(folder, model, memory.Parameter, tokenizer);
        SafetensorsWriter.Write(
            Path.Combine(folder, OptimizerFile),
            from buffer in Moments(memory)
            select new TensorToWrite(
                buffer.Name, buffer.Type.TensorType(), [.. buffer.Axes.Select(a => a.Size.Constant)],
                stream => Copy(memory.ByName[buffer.Name], stream)));
        (state with { Checksums = ChecksumsOf(folder) }).Write(folder);
    }

    /// <exception cref="LegatoException">The checkpoint is damaged or another model's; what is loaded so far is then of no use.</exception>
    public static void Read(string folder, TrainingState state, ModelDescription model, ModelMemory memory)
    {
        string config = ReadConfig(folder);
        if (config != model.Config)
            throw new LegatoException("the run was started with another model", folder, "resume with the model that the run began with: a model that a script declares is that script's to train");
        RequireUnchanged(folder, state);
        HubCheckpoint.LoadToTrain(folder, model, memory.Parameter);
        using var file = new SafetensorsFile(Path.Combine(folder, OptimizerFile));
        foreach (PlanBuffer buffer in Moments(memory))
        {
            TensorInfo tensor = file.Get(buffer.Name);
            IDeviceMemory target = memory.ByName[buffer.Name];
            if (tensor.Type != buffer.Type.TensorType() || tensor.Bytes != target.Bytes)
                throw new LegatoException($"the moment '{buffer.Name}' has {tensor.Bytes} bytes, the plan's has {target.Bytes}", file.Path, "resume with the model that the run began with");
            for (long start = 0; start < tensor.Bytes; start += ChunkBytes)
            {
                ReadOnlySpan<byte> part = file.Bytes(tensor, start, (int)Math.Min(ChunkBytes, tensor.Bytes - start));
                if (!ElementConversion.AreFinite(buffer.Type, part))
                    throw new LegatoException($"the moment '{buffer.Name}' holds NaN or infinities", file.Path, Remedy);
                target.Write(start, part);
            }
        }
    }

    /// <summary>Whether the files of a checkpoint can be opened, and are those that were written, as far as that was recorded.</summary>
    public static bool IsWhole(string folder)
    {
        try
        {
            _ = ReadConfig(folder);
            RequireUnchanged(folder, TrainingState.Read(folder));
            TrainingState.RequireTokenizer(folder, Tokenizer.Load(folder));
            new CheckpointFolder(folder).Dispose();
            new SafetensorsFile(Path.Combine(folder, OptimizerFile)).Dispose();
            return true;
        }
        catch (LegatoException)
        {
            return false;
        }
    }

    private static string ReadConfig(string folder)
    {
        try
        {
            string config = CheckpointFolder.ReadConfig(folder);
            JsonDocument.Parse(config).Dispose();
            return config;
        }
        catch (LegatoException e)
        {
            throw new LegatoException(e.What, e.Where, Remedy, e);
        }
        catch (JsonException e)
        {
            throw new LegatoException(
                $"the config is no JSON: line {e.LineNumber + 1} can't be read", Path.Combine(folder, CheckpointFolder.ConfigFile),
                Remedy, e);
        }
    }

    private static Dictionary<string, string> ChecksumsOf(string folder) =>
        Directory.GetFiles(folder, "*.safetensors").Order(StringComparer.Ordinal).ToDictionary(file => Path.GetFileName(file), FileChecksum.Of);

    private static void RequireUnchanged(string folder, TrainingState state)
    {
        foreach ((string name, string checksum) in state.Checksums ?? new Dictionary<string, string>())
        {
            string file = Path.Combine(folder, name);
            if (!File.Exists(file))
                throw new LegatoException("the checkpoint lacks this file", file, Remedy);
            if (FileChecksum.Of(file) != checksum)
                throw new LegatoException(
                    "the file isn't as it was written: its checksum differs", file,
                    $"{Remedy}; weights that were changed on purpose begin a new run, as MODEL without --resume");
        }
    }

    private static IEnumerable<PlanBuffer> Moments(ModelMemory memory) =>
        memory.Buffers(BufferClass.Optimizer).Where(buffer => !MasterWeights.IsMaster(buffer.Name));

    private static void Copy(IDeviceMemory memory, Stream stream)
    {
        byte[] chunk = ArrayPool<byte>.Shared.Rent(ChunkBytes);
        for (long start = 0; start < memory.Bytes; start += ChunkBytes)
        {
            Span<byte> part = chunk.AsSpan(0, (int)Math.Min(ChunkBytes, memory.Bytes - start));
            memory.Read(start, part);
            stream.Write(part);
        }
        ArrayPool<byte>.Shared.Return(chunk);
    }
}
