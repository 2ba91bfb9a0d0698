using System.Globalization;
using System.Runtime.InteropServices;

namespace Legato.Runtime.Cuda;

/// <summary>A GPU as the driver describes it.</summary>
/// <param name="Architecture">Compute capability without the point: 90.</param>
/// <param name="MemoryBytesPerSecond">What the memory moves at most, by its clock and its width.</param>
/// <param name="SharedBytes">Shared memory that a block may have.</param>
public sealed record CudaGpu(int Ordinal, string Name, int Architecture, int Multiprocessors, long MemoryBytes, double MemoryBytesPerSecond, int SharedBytes)
{
    public string Capability => string.Create(CultureInfo.InvariantCulture, $"{Architecture / 10}.{Architecture % 10}");
}

/// <summary>What CUDA finds on this machine.</summary>
public static unsafe class CudaMachine
{
    private const int OldestDriver = 12000;

    /// <summary>Whether there is a GPU and all that it takes.</summary>
    public static bool IsUsable
    {
        get
        {
            try
            {
                Task<bool> libraries = CudaLibraries.LoadAll();
                return Gpus() is [{ Architecture: >= 80 }, ..] && libraries.Result;
            }
            catch (LegatoException)
            {
                return false;
            }
        }
    }

    /// <summary>All GPUs.</summary>
    /// <exception cref="LegatoException">There is no driver, it is too old, or it finds no GPU.</exception>
    public static IReadOnlyList<CudaGpu> Gpus()
    {
        CudaLibraries.Require(CudaLibrary.Driver);
        CudaError.Check(Driver.Initialize(0), "starting");
        CudaError.Check(Driver.DriverGetVersion(out int version), "asking for the driver's version");
        RequireDriver(version);
        CudaError.Check(Driver.DeviceGetCount(out int count), "counting GPUs");
        return [.. Enumerable.Range(0, count).Select(Describe)];
    }

    /// <summary>The GPU of an index.</summary>
    /// <exception cref="LegatoException">There is none.</exception>
    public static CudaGpu Gpu(int index) => Choose(Gpus(), index);

    /// <summary>Bytes that may still be allocated on a GPU, by this program and all others together.</summary>
    /// <exception cref="LegatoException">There is no such GPU.</exception>
    public static long BytesFree(int index)
    {
        int ordinal = Gpu(index).Ordinal;
        CudaError.Check(Driver.PrimaryContextRetain(out nint context, ordinal), $"taking GPU {index}");
        CudaError.Check(Driver.ContextSetCurrent(context), "entering the GPU's context");
        CudaError.Check(Driver.MemGetInfo(out nuint free, out _), "asking for free memory");
        CudaError.Check(Driver.PrimaryContextRelease(ordinal), $"leaving GPU {index}");
        return (long)free;
    }

    /// <summary>Such as "13.0".</summary>
    public static string DriverVersion()
    {
        CudaLibraries.Require(CudaLibrary.Driver);
        CudaError.Check(Driver.DriverGetVersion(out int version), "asking for the driver's version");
        return Version(version);
    }

    /// <exception cref="LegatoException">The driver is too old.</exception>
    internal static void RequireDriver(int version)
    {
        if (version < OldestDriver)
            throw new LegatoException($"the NVIDIA driver knows CUDA {Version(version)}, and Legato takes 12.0 or newer", remedy: CudaLibrary.Driver.Install);
    }

    /// <exception cref="LegatoException">There is no GPU of that index.</exception>
    internal static CudaGpu Choose(IReadOnlyList<CudaGpu> gpus, int index) => index >= 0 && index < gpus.Count
        ? gpus[index]
        : throw new LegatoException(
            gpus.Count == 0 ? "the driver finds no GPU" : $"there is no GPU {index}",
            remedy: gpus.Count == 0
                ? "use --device cpu, or see `nvidia-smi` for what keeps the GPU away (CUDA_VISIBLE_DEVICES hides GPUs)"
                : $"choose {(gpus.Count == 1 ? "0" : $"0 to {gpus.Count - 1}")}: {string.Join(", ", gpus.Select(g => g.Name))}");

    private static string Version(int version) => string.Create(CultureInfo.InvariantCulture, $"{version / 1000}.{version % 1000 / 10}");

    private static CudaGpu Describe(int ordinal)
    {
        CudaError.Check(Driver.DeviceGet(out int device, ordinal), $"asking for GPU {ordinal}");
        byte* name = stackalloc byte[256];
        CudaError.Check(Driver.DeviceGetName(name, 256, device), $"asking for the name of GPU {ordinal}");
        CudaError.Check(Driver.DeviceTotalMem(out nuint bytes, device), $"asking for the memory of GPU {ordinal}");
        int Attribute(DeviceAttribute attribute)
        {
            CudaError.Check(Driver.DeviceGetAttribute(out int value, attribute, device), $"asking for what GPU {ordinal} can do");
            return value;
        }

        int architecture = 10 * Attribute(DeviceAttribute.ComputeCapabilityMajor) + Attribute(DeviceAttribute.ComputeCapabilityMinor);
        double bandwidth = 2e3 * Attribute(DeviceAttribute.MemoryClockRate) * Attribute(DeviceAttribute.MemoryBusWidth) / 8;
        return new CudaGpu(
            device, Marshal.PtrToStringUTF8((nint)name) ?? "", architecture, Attribute(DeviceAttribute.MultiprocessorCount), (long)bytes, bandwidth,
            Attribute(DeviceAttribute.SharedMemoryPerBlockOptIn));
    }
}
