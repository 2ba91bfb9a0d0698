using Legato.Runtime.Plans;
using Legato.Runtime.Text;

namespace Legato.Runtime.Checkpoints;

/// <summary>
/// Model weights in the Hugging Face layout, moved between a folder and a device by a family's
/// <see cref="WeightMap"/>.
/// </summary>
public static class HubCheckpoint
{
    /// <summary>
    /// Fills every parameter of a model from a folder, converting element types. Large tensors are copied in pieces by
    /// several threads; <see cref="Devices.IDeviceMemory.Write"/> must bear disjoint writes at once.
    /// </summary>
    /// <param name="parameter">Where a parameter, given by its path, is to go.</param>
    /// <param name="weights">The file of the weights, where it is another than the layout's own.</param>
    /// <exception cref="LegatoException">
    /// The folder can't be read, or weights are missing, left over, misshapen or of a type that doesn't convert: all of
    /// them are listed. No parameter is written then.
    /// </exception>
    public static void Load(string folder, ModelDescription model, Func<string, ParameterMemory> parameter, string weights = CheckpointFolder.WeightsFile)
    {
        using var checkpoint = new CheckpointFolder(folder, weights);
        WeightLoader.Load(checkpoint, model, parameter);
    }

    /// <summary>
    /// Writes model.safetensors under the family's names, config.json and the tokenizer's files. Each file is replaced as a
    /// whole; for the folder as a whole wrap the call in <see cref="AtomicWrite.Folder"/>.
    /// </summary>
    /// <exception cref="LegatoException">The folder can't be written.</exception>
    public static void Save(string folder, ModelDescription model, Func<string, ParameterMemory> parameter, Tokenizer? tokenizer = null)
    {
        try
        {
            Directory.CreateDirectory(folder);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new LegatoException($"can't make the folder: {e.Message}", folder, "choose a folder that you may write to", e);
        }
        AtomicWrite.Text(Path.Combine(folder, CheckpointFolder.ConfigFile), model.Config);
        tokenizer?.Save(folder);
        WeightSaver.Save(Path.Combine(folder, CheckpointFolder.WeightsFile), model, parameter);
    }
}
