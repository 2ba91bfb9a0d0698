using Legato.Runtime.Devices;
using Legato.Runtime.Plans;

namespace Legato.Runtime.Cuda;

/// <summary>How a <see cref="CudaDevice"/> is made.</summary>
/// <param name="Index">Which of the machine's GPUs.</param>
/// <param name="MeasureSteps">Whether executables time their steps, which forgoes graphs.</param>
public sealed record CudaDeviceOptions(int Index = 0, bool MeasureSteps = false);

/// <summary>One NVIDIA GPU of compute capability 8.0 or newer, through CUDA's driver.</summary>
public sealed class CudaDevice : IDevice
{
    private const int OldestArchitecture = 80, FirstOverlappingDriver = 12030;

    private readonly nint context;
    private readonly int ordinal;
    private readonly Lazy<CudaProducts> products;
    private long bytesAllocated;
    private bool disposed;

    /// <exception cref="LegatoException">There is no such GPU, it is too old, or a library that it takes is missing.</exception>
    public CudaDevice(CudaDeviceOptions? options = null)
    {
        options ??= new CudaDeviceOptions();
        Information = CudaMachine.Gpu(options.Index);
        if (Information.Architecture < OldestArchitecture)
            throw new LegatoException(
                $"{Information.Name} has compute capability {Information.Capability}, and Legato's kernels take 8.0 or newer",
                $"GPU {options.Index}", "use a GPU of the Ampere generation or newer, or --device cpu");
        ordinal = Information.Ordinal;
        CudaError.Check(Driver.PrimaryContextRetain(out context, ordinal), $"taking GPU {options.Index}");
        MakeCurrent();
        CudaError.Check(Driver.StreamCreate(out nint stream, 1), "making a stream");
        Stream = stream;
        Staging = new CudaStaging(this);
        Compiler = new CudaCompiler(this);
        products = new Lazy<CudaProducts>(() => new CudaProducts(this));
        CudaError.Check(Driver.DriverGetVersion(out int version), "asking for the driver's version");
        OverlapsLaunches = Architecture >= 90 && version >= FirstOverlappingDriver;
        MeasuresSteps = options.MeasureSteps || DebugLevel.ShowsTimes;
    }

    public string Name => "cuda";

    public bool NarrowsActivations => true;

    /// <summary>What the GPU is.</summary>
    public CudaGpu Information { get; }

    public long BytesAllocated => Interlocked.Read(ref bytesAllocated);

    /// <summary>Bytes that may still be allocated.</summary>
    public long BytesFree
    {
        get
        {
            MakeCurrent();
            CudaError.Check(Driver.MemGetInfo(out nuint free, out _), "asking for free memory");
            return (long)free;
        }
    }

    internal int Architecture => Information.Architecture;

    /// <summary>What machine code is made for; Hopper's own instructions are asked for by a letter.</summary>
    internal string Target => Architecture == 90 ? "90a" : Architecture.ToString(System.Globalization.CultureInfo.InvariantCulture);

    /// <summary>Whether a kernel may start while those ahead of it end, in graphs too.</summary>
    internal bool OverlapsLaunches { get; }

    /// <summary>All work goes through one stream, in order.</summary>
    internal nint Stream { get; }

    internal CudaStaging Staging { get; }

    internal CudaCompiler Compiler { get; }

    internal CudaProducts Products => products.Value;

    internal bool MeasuresSteps { get; }

    public IDeviceMemory Allocate(long bytes) => new CudaMemory(this, bytes);

    public IExecutable Compile(Plan plan, IReadOnlyDictionary<string, IDeviceMemory> persistent) =>
        new CudaExecutable(this, plan, persistent);

    public void Dispose()
    {
        if (disposed)
            return;
        disposed = true;
        MakeCurrent();
        if (products.IsValueCreated)
            products.Value.Dispose();
        Compiler.Dispose();
        Staging.Dispose();
        _ = Driver.StreamDestroy(Stream);
        _ = Driver.PrimaryContextRelease(ordinal);
    }

    /// <summary>The driver keeps a context for each thread.</summary>
    internal void MakeCurrent() => CudaError.Check(Driver.ContextSetCurrent(context), "entering the GPU's context");

    internal void Synchronize(string doing) => CudaError.Check(Driver.StreamSynchronize(Stream), doing);

    internal void Count(long bytes) => Interlocked.Add(ref bytesAllocated, bytes);
}
