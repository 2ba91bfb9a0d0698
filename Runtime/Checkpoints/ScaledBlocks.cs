namespace Legato.Runtime.Checkpoints;

/// <summary>
/// Matrices of MXFP4 in a folder, as gpt-oss is published: <c>NAME_blocks</c> [..., blocks, 16] holds the values, two a byte,
/// <c>NAME_scales</c> [..., blocks] the exponents. The two are read as one tensor NAME, which has the axes of its rows the
/// other way round than the tensor of that name in a folder without blocks: a block lies along what a product sums over.
/// </summary>
internal static class ScaledBlocks
{
    private const string Blocks = "_blocks", Scales = "_scales";

    /// <summary>Puts each pair's tensor in the place of the two.</summary>
    /// <exception cref="LegatoException">The shapes of a pair don't fit.</exception>
    public static void Join(Dictionary<string, StoredTensor> tensors, string path)
    {
        foreach (string blocksName in tensors.Keys.Where(name => name.EndsWith(Blocks, StringComparison.Ordinal)).ToList())
        {
            string name = blocksName[..^Blocks.Length];
            StoredTensor blocks = tensors[blocksName];
            if (!tensors.TryGetValue(name + Scales, out StoredTensor? scales) || !IsBytes(blocks) || !IsBytes(scales))
                continue;
            int bytes = TensorType.F4.BlockBytes();
            IReadOnlyList<long> shape = blocks.Info.Shape;
            if (shape.Count < 3 || shape[^1] != bytes || !shape.SkipLast(1).SequenceEqual(scales.Info.Shape))
                throw new LegatoException(
                    $"{blocksName} {blocks.Info.ShapeText} and {name + Scales} {scales.Info.ShapeText} don't fit: "
                    + $"blocks have {bytes} bytes and a scale each", path, "fetch the weights anew");
            long[] elements = [.. shape.SkipLast(2), shape[^2] * TensorType.F4.BlockElements()];
            tensors.Remove(blocksName);
            tensors.Remove(name + Scales);
            if (!tensors.TryAdd(name, new StoredTensor(blocks.File, blocks.Info with { Name = name, Type = TensorType.F4, Shape = elements }, scales)))
                throw new LegatoException($"there is a tensor '{name}' beside {blocksName}", path, "keep one of the two");
        }
    }

    private static bool IsBytes(StoredTensor tensor) => tensor.Info.Type == TensorType.U8;
}
