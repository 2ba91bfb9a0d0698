using System.Runtime.InteropServices;

namespace Legato.Runtime.Cuda;

/// <summary>What the driver's error numbers mean to a user.</summary>
internal static class CudaError
{
    /// <summary>What to do where memory ends.</summary>
    public const string MemoryRemedy = "choose a smaller batch or context, or end the other programs on the GPU (nvidia-smi lists them)";

    /// <exception cref="LegatoException">The call has failed.</exception>
    public static void Check(int result, string doing)
    {
        if (result != 0)
            throw Of(result, doing);
    }

    public static LegatoException Of(int result, string doing) => new($"CUDA failed while {doing}: {Describe(result)}", remedy: Remedy(result));

    public static LegatoException OutOfMemory(long bytes, long free, CudaDevice device) => new(
        $"{bytes} bytes of GPU memory can't be had: {free} are free on {device.Information.Name}, Legato holds {device.BytesAllocated}",
        remedy: MemoryRemedy);

    private static string Describe(int result)
    {
        string? name = Driver.GetErrorName(result, out nint n) == 0 ? Marshal.PtrToStringUTF8(n) : null;
        string? text = Driver.GetErrorString(result, out nint t) == 0 ? Marshal.PtrToStringUTF8(t) : null;
        return name is null ? $"error {result}" : $"{name} ({text})";
    }

    private static string Remedy(int result) => result switch
    {
        Driver.ErrorOutOfMemory => MemoryRemedy,
        Driver.ErrorNoDevice => "use --device cpu, or see `nvidia-smi` and `legato doctor` for what keeps the GPU away (CUDA_VISIBLE_DEVICES hides GPUs)",
        35 or 803 => "the driver is older than the libraries: update the driver, or install an older CUDA toolkit",
        200 or 209 or 218 or 300 => "delete the folder of compiled kernels (`legato doctor` names it) and try again",
        700 or 719 or 716 or 710 => "this is a defect of a kernel; LEGATO_DEBUG=2 shows its source, --device cpu goes round it",
        _ => "see `nvidia-smi` for the state of the GPU, and `legato doctor`",
    };
}
