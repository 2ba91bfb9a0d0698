using System.Runtime.InteropServices;
using Legato.Runtime.Plans;

namespace Legato.Runtime.Checkpoints;

/// <summary>
/// Rewrites a checkpoint under other names, in another format or another type, a tensor at a time: memory holds one
/// tensor, not the model.
/// </summary>
public static class CheckpointConversion
{
    private const string PositionEmbedding = "position_embd";
    private const string Bias = ".bias";
    private const string Router = ".ffn_gate_inp";

    /// <summary>Writes a folder's weights in the Hugging Face layout.</summary>
    /// <param name="from">The model with the names of the checkpoint that is read.</param>
    /// <param name="to">The same model with the names that are written.</param>
    /// <param name="precision">The type of every tensor; null: what holds the stored one without loss.</param>
    /// <returns>The tensors with NaN or infinities, which are written as they are.</returns>
    /// <exception cref="LegatoException">
    /// The checkpoint doesn't fit the model, or its numbers the type, or the folder can't be written.
    /// </exception>
    public static NonFiniteTensors ToFolder(
        ITensorSource checkpoint, ModelDescription from, ModelDescription to, string folder, ScalarType? precision = null,
        long shardBytes = HubCheckpoint.ShardBytes)
    {
        var nonFinite = new NonFiniteTensors();
        CheckpointWriter.Write(
            folder,
            WeightSaver.Tensors(to, new StoredSlices(checkpoint, from, nonFinite), (_, _, held) => (precision ?? held).TensorType()),
            shardBytes);
        return nonFinite;
    }

    /// <summary>Writes a GGUF file that isn't there yet. Vectors, biases, position embeddings and routers stay in float32, since its readers expect them so.</summary>
    /// <param name="matrices">The type of matrices; null: what holds the stored ones without loss.</param>
    /// <param name="metadata">Keys and values, as <see cref="GgufWriter"/> takes them.</param>
    /// <param name="constants">Tensors that hold no weights, in float32.</param>
    /// <returns>The tensors with NaN or infinities, which are written as they are.</returns>
    /// <exception cref="LegatoException">
    /// The checkpoint doesn't fit the model, or its numbers the type, or the file can't be written.
    /// </exception>
    public static NonFiniteTensors ToGguf(
        ITensorSource checkpoint, ModelDescription from, ModelDescription to, string path, TensorType? matrices,
        IEnumerable<KeyValuePair<string, object>> metadata, IEnumerable<KeyValuePair<string, float[]>> constants)
    {
        TensorType Encode(string name, IReadOnlyList<long> shape, ScalarType held)
        {
            if (shape.Count < 2 || name.EndsWith(Bias, StringComparison.Ordinal) || name.StartsWith(PositionEmbedding, StringComparison.Ordinal) || name.Contains(Router, StringComparison.Ordinal))
                return TensorType.F32;
            TensorType wanted = matrices ?? held.TensorType();
            // Rows that are no whole number of blocks keep a type without blocks.
            return shape[^1] % wanted.BlockElements() == 0 ? wanted : TensorType.F16;
        }
        var nonFinite = new NonFiniteTensors();
        IEnumerable<TensorToWrite> weights = WeightSaver.Tensors(to, new StoredSlices(checkpoint, from, nonFinite), Encode);
        GgufWriter.Write(path, metadata, weights.Concat(constants.Select(c => new TensorToWrite(
            c.Key, TensorType.F32, [c.Value.Length], stream => stream.Write(MemoryMarshal.AsBytes<float>(c.Value))))), isNew: true);
        return nonFinite;
    }
}
