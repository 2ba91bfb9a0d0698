using Legato.Runtime.Plans;

namespace Legato.Runtime.Cuda;

/// <summary>A product of matrices of any types and strides, without tensor cores.</summary>
internal sealed class CudaPortableProduct
{
    private const int Tile = 32, Threads = 256, MostBlocks = 65535;

    private readonly CudaCall call;

    public CudaPortableProduct(ScalarType left, ScalarType right, ScalarType output, bool accumulate, CudaDevice device, string name)
    {
        string types = $"typedef {CudaTypes.Name(left)} Left;\ntypedef {CudaTypes.Name(right)} Right;\ntypedef {CudaTypes.Name(output)} Output;\n#define ACCUMULATE {(accumulate ? 1 : 0)}\n";
        nint function = device.Compiler.Load(CudaCompiler.Prelude + types + CudaCompiler.Resource("TileProduct.cu") + CudaCompiler.Resource("MatrixProductPortable.cu")).Function("product");
        call = new CudaCall(function, 16, name) { Threads = Threads };
    }

    public void Bind(
        long m, long n, long k, (long Row, long Column) left, (long Row, long Column) right, (long Row, long Column) output,
        (long Count, long Left, long Right, long Output) batch)
    {
        long[] sizes = [m, n, k, left.Row, left.Column, right.Row, right.Column, output.Row, output.Column, batch.Count, batch.Left, batch.Right, batch.Output];
        sizes.CopyTo(call.Arguments[3..]);
        call.BlocksX = (n + Tile - 1) / Tile;
        call.BlocksY = Math.Min(MostBlocks, (m + Tile - 1) / Tile);
        call.BlocksZ = Math.Min(MostBlocks, batch.Count);
    }

    public void Enqueue(nint left, nint right, nint output, nint stream)
    {
        (call.Arguments[0], call.Arguments[1], call.Arguments[2]) = (left, right, output);
        call.Enqueue(stream);
    }
}
