using System.Collections.Concurrent;

namespace Legato.Runtime.Cuda;

/// <summary>Machine code on the device.</summary>
internal sealed unsafe class CudaModule : IDisposable
{
    private readonly CudaDevice device;
    private readonly ConcurrentDictionary<string, nint> functions = new();
    private nint handle;

    private CudaModule(CudaDevice device, nint handle) => (this.device, this.handle) = (device, handle);

    /// <summary>A module of a GPU on paper.</summary>
    public static CudaModule OnPaper(CudaDevice device) => new(device, 0);

    /// <exception cref="LegatoException">The driver doesn't take it.</exception>
    public static CudaModule Load(CudaDevice device, byte[] image)
    {
        CudaError.Check(TryLoad(image, out nint handle), "loading a kernel");
        return new CudaModule(device, handle);
    }

    /// <summary>Null where the driver doesn't take it.</summary>
    public static CudaModule? TryLoad(CudaDevice device, byte[] image) =>
        TryLoad(image, out nint handle) == 0 ? new CudaModule(device, handle) : null;

    /// <summary>A function by its name, ready for a block's shared memory of that size.</summary>
    public nint Function(string name, int sharedBytes = 0) => functions.GetOrAdd(name, _ =>
    {
        if (sharedBytes > device.Information.SharedBytes)
            throw new LegatoException(
                $"{name} takes {sharedBytes} bytes of shared memory a block, and {device.Information.Name} has {device.Information.SharedBytes}",
                remedy: "use --precision bf16, a GPU with more of it (an A100, an H100), or --device cpu");
        if (device.IsOnPaper)
            return 0;
        device.MakeCurrent();
        CudaError.Check(Driver.ModuleGetFunction(out nint function, handle, name), $"looking for the function {name}");
        if (sharedBytes > 48 << 10)
            CudaError.Check(
                Driver.FunctionSetAttribute(function, FunctionAttribute.MaxDynamicSharedBytes, sharedBytes),
                $"asking for {sharedBytes} bytes of shared memory for {name}");
        return function;
    });

    public void Dispose()
    {
        if (handle == 0)
            return;
        device.MakeCurrent();
        _ = Driver.ModuleUnload(handle);
        handle = 0;
    }

    private static int TryLoad(byte[] image, out nint handle)
    {
        fixed (byte* start = image)
            return Driver.ModuleLoadData(out handle, start);
    }
}
