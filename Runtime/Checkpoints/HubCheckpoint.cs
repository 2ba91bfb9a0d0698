using Legato.Runtime.Plans;
using Legato.Runtime.Text;

namespace Legato.Runtime.Checkpoints;

/// <summary>
/// Model weights moved between files and a device by a family's <see cref="WeightMap"/>: folders in the Hugging Face
/// layout, read and written, and GGUF files, read here and written by <see cref="CheckpointConversion"/>.
/// </summary>
public static class HubCheckpoint
{
    /// <summary>The most bytes of tensors that one file of a checkpoint is given: 5 GB, as elsewhere.</summary>
    public const long ShardBytes = 5_000_000_000;

    /// <summary>
    /// Fills every parameter of a model from a folder or a GGUF file, converting element types. Large tensors are copied in
    /// pieces by several threads; <see cref="Devices.IDeviceMemory.Write"/> must bear disjoint writes at once.
    /// </summary>
    /// <param name="parameter">Where a parameter, given by its path, is to go.</param>
    /// <param name="weights">The file of a folder's weights, where it is another than the layout's own.</param>
    /// <exception cref="LegatoException">
    /// The files can't be read, or weights are missing, left over, misshapen or of a type that doesn't convert: all of
    /// them are listed. No parameter is written then.
    /// </exception>
    public static void Load(string path, ModelDescription model, Func<string, ParameterMemory> parameter, string weights = CheckpointFolder.WeightsFile)
    {
        using ITensorSource checkpoint = Open(path, weights);
        WeightLoader.Load(checkpoint, model, parameter, null);
    }

    /// <summary>As <see cref="Load"/>, for training: it would only spread NaN or infinities, and the learning rate be blamed.</summary>
    /// <exception cref="LegatoException">As there; or weights aren't finite, what is loaded so far then being of no use.</exception>
    public static void LoadToTrain(string path, ModelDescription model, Func<string, ParameterMemory> parameter)
    {
        var nonFinite = new NonFiniteTensors();
        using ITensorSource checkpoint = Open(path);
        WeightLoader.Load(checkpoint, model, parameter, nonFinite);
        nonFinite.RequireNone("train from weights that are finite; these were damaged, or the run that wrote them had failed");
    }

    /// <summary>
    /// Writes the weights under the family's names, config.json and the tokenizer's files. Each file is replaced as a
    /// whole; for the folder as a whole wrap the call in <see cref="AtomicWrite.Folder"/>.
    /// </summary>
    /// <exception cref="LegatoException">The folder can't be written.</exception>
    public static void Save(
        string folder, ModelDescription model, Func<string, ParameterMemory> parameter, Tokenizer? tokenizer = null,
        long shardBytes = ShardBytes)
    {
        AtomicWrite.MakeFolder(folder);
        AtomicWrite.Text(Path.Combine(folder, CheckpointFolder.ConfigFile), model.Config);
        tokenizer?.Save(folder);
        CheckpointWriter.Write(
            folder, WeightSaver.Tensors(model, new DeviceSlices(parameter), (_, _, held) => held.TensorType()), shardBytes);
    }

    /// <summary>Refuses a folder or a GGUF file whose weights aren't the model's; none is read.</summary>
    /// <exception cref="LegatoException">As of <see cref="Load"/>.</exception>
    public static void RequireFit(string path, ModelDescription model)
    {
        using ITensorSource checkpoint = Open(path);
        _ = WeightMatch.Find(checkpoint, model, _ => ScalarType.F32);
    }

    /// <summary>Whether a checkpoint has a tensor under every name that a model gives its weights.</summary>
    public static bool HoldsAll(ITensorSource checkpoint, ModelDescription model)
    {
        ILookup<string, WeightSlice> byTensor = WeightSlice.All(model).ToLookup(s => s.Tensor, StringComparer.Ordinal);
        string prefix = new CheckpointNames(checkpoint, model.Weights, byTensor).Prefix;
        return byTensor.All(group => checkpoint.Find(prefix + group.Key) is not null);
    }

    /// <summary>The tensors of a folder in the Hugging Face layout, or of a GGUF file.</summary>
    /// <exception cref="LegatoException">They can't be read.</exception>
    public static ITensorSource Open(string path, string weights = CheckpointFolder.WeightsFile) =>
        GgufFile.IsNamed(path) ? new GgufFile(path) : new CheckpointFolder(path, weights);
}
