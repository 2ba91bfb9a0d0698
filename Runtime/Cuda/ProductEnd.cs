namespace Legato.Runtime.Cuda;

/// <summary>What becomes of a product's sums, after all that is added to them, before they are stored.</summary>
internal enum ProductActivation
{
    /// <summary>Nothing.</summary>
    None,

    /// <summary>GELU; its input is stored too.</summary>
    Gelu,

    /// <summary>They are multiplied by the slopes of GELU at its input.</summary>
    GeluSlope,
}

/// <summary>What a product does with its sums while they are in registers.</summary>
/// <param name="Bias">A vector that is added to each row.</param>
/// <param name="Addend">A matrix of the output's layout that is added.</param>
/// <param name="Input">A matrix as large as the output: the activation's input.</param>
/// <param name="InputStride">Elements from one of its rows to the next.</param>
/// <param name="Apart">Does the same, product and all, where cuBLASLt doesn't.</param>
internal sealed record ProductEnd(
    CudaView? Bias, CudaView? Addend, ProductActivation Activation, CudaView? Input, long InputStride, Lazy<CudaLaunch[]> Apart);
