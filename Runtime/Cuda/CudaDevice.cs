using Legato.Runtime.Devices;
using Legato.Runtime.Plans;

namespace Legato.Runtime.Cuda;

/// <summary>How a <see cref="CudaDevice"/> is made.</summary>
/// <param name="Index">Which of the machine's GPUs.</param>
/// <param name="MeasureSteps">Whether executables time their steps, which forgoes graphs.</param>
/// <param name="Portable">Whether kernels of Hopper's own instructions are passed over, as where there is no Hopper.</param>
/// <param name="MeasureProducts">Whether the fastest way to compute a product is measured; else a kernel of our own takes what it can.</param>
public sealed record CudaDeviceOptions(int Index = 0, bool MeasureSteps = false, bool Portable = false, bool MeasureProducts = true);

/// <summary>What a run of a plan takes of a GPU.</summary>
/// <param name="WorkingBytes">Beside the plan's buffers.</param>
/// <param name="Launches">Of kernels and library calls, the plan's neighbouring steps joined where the GPU joins them.</param>
public sealed record CudaPlanNeeds(long WorkingBytes, int Launches)
{
    /// <summary>Of its kernels.</summary>
    internal IReadOnlyList<string> Sources { get; init; } = [];
}

/// <summary>One NVIDIA GPU of compute capability 8.0 or newer, through CUDA's driver.</summary>
public sealed class CudaDevice : IDevice
{
    /// <summary>The stream of a GPU on paper: launches that are given to it are checked, and go nowhere.</summary>
    internal const nint PaperStream = -1;

    /// <summary>Blocks of a cluster that every GPU with clusters takes.</summary>
    internal const int LargestCluster = 8;

    private const int OldestArchitecture = 80, FirstOverlappingDriver = 12030, PaperAlignment = 256;

    /// <summary>Shared memory of each block that the system takes, and what a kernel may have beside what it asks for.</summary>
    private const int SharedBytesOfSystem = 1 << 10, SharedBytesBeside = 1 << 10;

    private readonly nint context;
    private readonly Lazy<CudaProducts> products;
    private readonly CudaStaging? staging;
    private readonly Lazy<CudaUploads> uploads;
    private readonly ReleaseStack held = new();
    private long bytesAllocated, nextAddress = PaperAlignment;
    private readonly BackgroundWork loading = new();
    private bool disposed;

    /// <exception cref="LegatoException">There is no such GPU, it is too old, or a library that it takes is missing.</exception>
    public CudaDevice(CudaDeviceOptions? options = null)
    {
        options ??= new CudaDeviceOptions();
        // Loading them takes as long as starting the driver and making the context.
        Task libraries = CudaLibraries.LoadAll();
        Information = CudaMachine.Gpu(options.Index);
        Timeline.Mark("driver started");
        RequireArchitecture(Information);
        IsHopper = Architecture == 90 && !options.Portable;
        MeasuresProducts = options.MeasureProducts;
        int ordinal = Information.Ordinal;
        CudaError.Check(Driver.PrimaryContextRetain(out context, ordinal), $"taking GPU {options.Index}");
        held.Add(() => _ = Driver.PrimaryContextRelease(ordinal));
        try
        {
            MakeCurrent();
            CudaError.Check(Driver.StreamCreate(out nint stream, Driver.NotBlocking), "making a stream");
            held.Add(() => _ = Driver.StreamDestroy(stream));
            Stream = stream;
            staging = new CudaStaging(this);
            held.Add(staging.Dispose);
            Compiler = new CudaCompiler(this);
            held.Add(Compiler.Dispose);
            products = new Lazy<CudaProducts>(() => new CudaProducts(this));
            uploads = new Lazy<CudaUploads>(() => new CudaUploads(this));
            Timeline.Mark("context made");
            libraries.Wait();
            foreach (CudaLibrary library in CudaLibrary.All)
                CudaLibraries.Require(library);
            CudaError.Check(Driver.DriverGetVersion(out int version), "asking for the driver's version");
            OverlapsLaunches = Architecture >= 90 && version >= FirstOverlappingDriver;
        }
        catch
        {
            held.Dispose();
            throw;
        }
        MeasuresSteps = options.MeasureSteps || DebugLevel.ShowsTimes;
        Timeline.Mark("GPU opened");
    }

    private CudaDevice(CudaGpu gpu)
    {
        RequireArchitecture(gpu);
        (Information, IsOnPaper, Stream) = (gpu, true, PaperStream);
        IsHopper = Architecture == 90;
        Compiler = new CudaCompiler(this);
        products = new Lazy<CudaProducts>(() => new CudaProducts(this));
        uploads = new Lazy<CudaUploads>(() => throw new InvalidOperationException("a GPU on paper holds no bytes"));
        OverlapsLaunches = Architecture >= 90;
    }

    public string Name => "cuda";

    public bool NarrowsActivations => true;

    public int RunsAhead => 4;

    /// <summary>What the GPU is.</summary>
    public CudaGpu Information { get; }

    public long BytesAllocated => Interlocked.Read(ref bytesAllocated);

    /// <summary>Bytes that may still be allocated.</summary>
    public long BytesFree
    {
        get
        {
            if (IsOnPaper)
                return Information.MemoryBytes - BytesAllocated;
            MakeCurrent();
            CudaError.Check(Driver.MemGetInfo(out nuint free, out _), "asking for free memory");
            return (long)free;
        }
    }

    internal int Architecture => Information.Architecture;

    /// <summary>Whether kernels may use Hopper's own instructions.</summary>
    internal bool IsHopper { get; }

    /// <summary>What machine code is made for; Hopper's own instructions are asked for by a letter.</summary>
    internal string Target => Architecture == 90 ? "90a" : Architecture.ToString(System.Globalization.CultureInfo.InvariantCulture);

    /// <summary>Whether blocks may reach each other's shared memory.</summary>
    internal bool HasClusters => Architecture >= 90;

    /// <summary>Whether a kernel may start while those ahead of it end, in graphs too.</summary>
    internal bool OverlapsLaunches { get; }

    /// <summary>All work goes through one stream, in order.</summary>
    internal nint Stream { get; }

    /// <summary>Whether plans are only prepared: launches can be looked at and are checked, nothing runs.</summary>
    internal bool IsOnPaper { get; }

    internal CudaStaging Staging => staging ?? throw new InvalidOperationException("a GPU on paper holds no bytes");

    internal CudaUploads Uploads => uploads.Value;

    internal CudaCompiler Compiler { get; }

    internal CudaProducts Products => products.Value;

    internal bool MeasuresSteps { get; }

    internal bool MeasuresProducts { get; }

    /// <summary>Bytes of shared memory that a block may ask for where a multiprocessor is to have two of them.</summary>
    internal int SharedBytesOfHalf => (Information.SharedBytes + SharedBytesOfSystem) / 2 - SharedBytesOfSystem - SharedBytesBeside;

    /// <summary>
    /// A GPU that needn't be there: plans are prepared for it, so that their kernels, launches and memory can be looked at.
    /// </summary>
    /// <exception cref="LegatoException">The GPU is too old.</exception>
    public static CudaDevice OnPaper(CudaGpu gpu) => new(gpu);

    /// <summary>Bytes that the plan's steps take beside its buffers, which needn't fit.</summary>
    public long WorkingBytes(Plan plan) => Foretell(plan).WorkingBytes;

    /// <summary>What a run of the plan takes, which needn't fit. Worked out once.</summary>
    public CudaPlanNeeds Foretell(Plan plan) => SpellingMemo.Of(plan, (Information, IsHopper), () => NeedsOf(plan));

    private CudaPlanNeeds NeedsOf(Plan plan)
    {
        using CudaDevice paper = OnPaper(Information with { MemoryBytes = long.MaxValue });
        Dictionary<string, IDeviceMemory> persistent = plan.Buffers.Where(b => b.IsPersistent)
            .ToDictionary(b => b.Name, b => paper.Allocate(plan.Maximum(b.Bytes)));
        long kept = paper.BytesAllocated;
        using var executable = new CudaExecutable(paper, plan, persistent);
        return new CudaPlanNeeds(paper.BytesAllocated - kept - plan.ArenaBytes, executable.Launches) { Sources = [.. paper.Compiler.Sources] };
    }

    /// <summary>
    /// Begins to load the code of the library's products that the last plan of that purpose, model and precision took: most of it is
    /// then there when such a plan is made ready. Nothing is loaded for a device that has been given back.
    /// </summary>
    public void LoadAhead(Purpose purpose, string model, string precision) => BeginLoading(() => new CudaProductsAhead(this).Load(purpose, model, precision));

    /// <summary>
    /// Begins to compile the kernels of a plan that will be made ready, and those that choose how to compute its products. What doesn't
    /// compile is told when the plan is made ready. Nothing is compiled for a device that has been given back.
    /// </summary>
    /// <param name="withdrawn">Once the plan is not wanted any more: what isn't under way by then isn't compiled.</param>
    /// <exception cref="LegatoException">The plan has a step that the GPU can't do.</exception>
    public void CompileAhead(Plan plan, CancellationToken withdrawn = default)
    {
        if (!withdrawn.IsCancellationRequested)
            Compiler.Begin([.. Foretell(plan).Sources, .. CudaProductMeasuring.Sources], withdrawn);
    }

    public IDeviceMemory Allocate(long bytes) => new CudaMemory(this, bytes);

    public IPendingRead PendingRead(IDeviceMemory memory, int bytes) => new CudaPendingRead(this, (CudaMemory)memory, bytes);

    public IExecutable Compile(Plan plan, IReadOnlyDictionary<string, IDeviceMemory> persistent) =>
        new CudaExecutable(this, plan, persistent);

    public void Dispose()
    {
        if (disposed)
            return;
        disposed = true;
        if (IsOnPaper)
            return;
        loading.End();
        MakeCurrent();
        if (products.IsValueCreated)
            products.Value.Dispose();
        if (uploads.IsValueCreated)
            uploads.Value.Dispose();
        held.Dispose();
    }

    /// <summary>The driver keeps a context for each thread.</summary>
    internal void MakeCurrent()
    {
        if (!IsOnPaper)
            CudaError.Check(Driver.ContextSetCurrent(context), "entering the GPU's context");
    }

    /// <summary>Has code loaded in the background, after what was asked for before.</summary>
    internal void BeginLoading(Action load)
    {
        if (IsOnPaper)
            return;
        loading.Begin(() =>
        {
            MakeCurrent();
            load();
            Timeline.Mark("library's kernels loaded");
        });
    }

    /// <summary>Waits until all code is loaded: the stream is then left to whom it belongs.</summary>
    internal void FinishLoading() => loading.Finish();

    /// <summary>The same for what is about to be given up, whether or not that went well.</summary>
    internal void AwaitLoading() => loading.Abandon();

    /// <summary>Does what is measured: no code is loaded and nothing large written meanwhile.</summary>
    internal T Alone<T>(Func<T> work)
    {
        FinishLoading();
        return Compiler.Alone(() => Uploads.Alone(work));
    }

    internal void Synchronize(string doing)
    {
        if (!IsOnPaper)
            CudaError.Check(Driver.StreamSynchronize(Stream), doing);
    }

    /// <summary>Waits until all that was asked of the GPU is done.</summary>
    internal void Finish() => staging?.Finish();

    /// <summary>Zeroed memory's address.</summary>
    /// <exception cref="LegatoException">The GPU has not so much.</exception>
    internal nint Take(long bytes)
    {
        nint address;
        if (IsOnPaper)
        {
            long room = (Math.Max(1, bytes) + PaperAlignment - 1) / PaperAlignment * PaperAlignment;
            address = (nint)(Interlocked.Add(ref nextAddress, room) - room);
        }
        else
        {
            MakeCurrent();
            int result = Driver.MemAlloc(out address, (nuint)Math.Max(1, bytes));
            if (result == Driver.ErrorOutOfMemory)
                throw CudaError.OutOfMemory(bytes, BytesFree, this);
            CudaError.Check(result, "allocating memory");
            CudaError.Check(Driver.MemsetAsync(address, 0, (nuint)bytes, Stream), "clearing memory");
        }
        Count(bytes);
        return address;
    }

    /// <summary>Gives memory back, once what uses it is done.</summary>
    internal void Free(nint address, long bytes)
    {
        if (!IsOnPaper)
        {
            MakeCurrent();
            _ = Driver.StreamSynchronize(Stream);
            _ = Driver.MemFree(address);
        }
        Count(-bytes);
    }

    /// <exception cref="LegatoException">The GPU is too old.</exception>
    internal static void RequireArchitecture(CudaGpu gpu)
    {
        if (gpu.Architecture < OldestArchitecture)
            throw new LegatoException(
                $"{gpu.Name} has compute capability {gpu.Capability}, and Legato's kernels take 8.0 or newer",
                $"GPU {gpu.Ordinal}", "use a GPU of the Ampere generation or newer, or --device cpu");
    }

    private void Count(long bytes) => Interlocked.Add(ref bytesAllocated, bytes);
}
