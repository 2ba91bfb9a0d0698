using System.Runtime.InteropServices;
using Legato.Runtime.Plans;

namespace Legato.Runtime.Cuda;

/// <summary>
/// Loads code of cuBLASLt's before it is wanted. Which algorithms the last plan of a kind took is kept on disk, so that the next start has them
/// loaded while its plan is made; the first start has what is proposed loaded while other kernels are compiled. A kernel's code doesn't depend on
/// how many rows and columns there are: products of few rows and columns do.
/// </summary>
internal sealed class CudaProductsAhead(CudaDevice device)
{
    /// <summary>Rows, columns and depth, and products of a batch, at most.</summary>
    private const long Most = 64, MostOfBatch = 2;

    /// <summary>Keeps what a plan takes.</summary>
    public void Keep(Plan plan, IReadOnlyDictionary<ProductShape, ProductAlgorithm> products)
    {
        string key = Key(plan.Purpose, plan.Model, plan.Precision);
        Kept[] all = [.. products.Select(p => new Kept(p.Key, p.Value))];
        byte[] content = MemoryMarshal.AsBytes(all.AsSpan()).ToArray();
        if (content.Length > 0 && (CubinCache.Find(key) is not { } before || !content.AsSpan().SequenceEqual(before)))
            CubinCache.Keep(key, content);
    }

    /// <summary>Loads what the last plan of that kind took, if one is known.</summary>
    public void Load(Purpose purpose, string model, string precision)
    {
        if (CubinCache.Find(Key(purpose, model, precision)) is not { } content)
            return;
        Load(() =>
        {
            foreach (Kept kept in MemoryMarshal.Cast<byte, Kept>(content))
                Load(kept.Shape, [kept.Algorithm]);
        });
    }

    /// <summary>Loads what is proposed for shapes whose way is still to be measured, and makes ready for that.</summary>
    public void LoadProposed(IReadOnlyList<ProductShape> shapes)
    {
        if (shapes.Count == 0)
            return;
        Task measuring = Task.Run(() => CudaProductMeasuring.Prepare(device));
        Load(() =>
        {
            foreach (ProductShape shape in shapes)
            {
                using var product = new CudaProduct(shape);
                Load(shape, device.Products.Proposed(product));
            }
        });
        measuring.GetAwaiter().GetResult();
    }

    private void Load(Action load)
    {
        try
        {
            load();
            device.Synchronize("loading products");
        }
        catch (LegatoException)
        {
            // Memory may be short, and no more than time is lost: what isn't there is loaded when it is wanted.
        }
    }

    private void Load(in ProductShape shape, ReadOnlySpan<ProductAlgorithm> algorithms)
    {
        ProductShape few = shape with
        {
            Rows = Math.Min(shape.Rows, Most),
            Columns = Math.Min(shape.Columns, Most),
            Depth = Math.Min(shape.Depth, Most),
            Batch = Math.Min(shape.Batch, MostOfBatch),
        };
        using var product = new CudaProduct(few);
        using CudaMemory a = new(device, product.Bytes.A), b = new(device, product.Bytes.B), c = new(device, product.Bytes.C);
        using CudaMemory input = new(device, few.InputLeading * few.Columns * few.C.Type.Size()), bias = new(device, few.Rows * few.C.Type.Size());
        if (few.Activation != ProductActivation.None)
            product.SetInput(input.Address);
        if (few.HasBias)
            product.SetBias(bias.Address);
        // One that it refuses for so few is loaded when it is wanted.
        foreach (ref readonly ProductAlgorithm algorithm in algorithms)
            _ = device.Products.Multiply(product, algorithm, a.Address, b.Address, c.Address, c.Address, device.Stream);
    }

    /// <summary>What is kept is bytes as this build of the program has them.</summary>
    private string Key(Purpose purpose, string model, string precision) =>
        $"products of {purpose} {model} {precision}\n{device.Information.Name}\n{CublasLt.GetVersion()}\n{typeof(CudaProductsAhead).Module.ModuleVersionId}";

    private readonly record struct Kept(ProductShape Shape, ProductAlgorithm Algorithm);
}
