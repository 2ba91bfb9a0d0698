using System.Collections.Concurrent;
using System.Reflection;

namespace Legato.Runtime.Cuda;

/// <summary>
/// Machine code for sources, each compiled once: kept on disk by source, architecture and compiler. Safe for several
/// threads; NVRTC works in parallel, but for reading sources, which it does one after another.
/// </summary>
internal sealed class CudaCompiler : IDisposable
{
    private static readonly ConcurrentDictionary<string, string> Resources = new();

    private readonly ConcurrentDictionary<string, Lazy<CudaModule>> modules = new();

    // The same by reference: sources are long.
    private readonly ConcurrentDictionary<string, Lazy<CudaModule>> known = new(ReferenceEqualityComparer.Instance);
    private readonly CudaDevice device;
    private readonly LongestFirst ahead;
    private readonly Lazy<string> version;

    public CudaCompiler(CudaDevice device)
    {
        this.device = device;
        ahead = new LongestFirst(source => Load(source));
        version = new Lazy<string>(() =>
        {
            CudaLibraries.Require(CudaLibrary.Compiler);
            RequireTarget(device.Information);
            return Nvrtc.Version();
        });
    }

    /// <summary>What generated kernels begin with.</summary>
    public static string Prelude { get; } = Resource("Prelude.cu");

    /// <summary>The text of a kernel that is part of the assembly.</summary>
    public static string Resource(string name) => Resources.GetOrAdd(name, ReadResource);

    private static string ReadResource(string name)
    {
        Assembly assembly = typeof(CudaCompiler).Assembly;
        using Stream stream = assembly.GetManifestResourceStream("Legato.Runtime.Cuda.Kernels." + name)
            ?? throw new InvalidOperationException($"the assembly holds no kernel '{name}'");
        return new StreamReader(stream).ReadToEnd();
    }

    /// <summary>The sources that were asked for.</summary>
    public IEnumerable<string> Sources => modules.Keys;

    /// <summary>The environment variable of what else NVRTC is told, as profilers and checkers of kernels want it: <c>--generate-line-info</c>.</summary>
    public const string OptionsVariable = "LEGATO_NVRTC_OPTIONS";

    /// <summary>What NVRTC is told.</summary>
    /// <param name="target">As <see cref="CudaDevice.Target"/>.</param>
    public static string[] Options(string target) =>
    [
        $"--gpu-architecture=sm_{target}", "--std=c++17", "--prec-div=false", "--prec-sqrt=false",
        .. (Environment.GetEnvironmentVariable(OptionsVariable) ?? "").Split(' ', StringSplitOptions.RemoveEmptyEntries),
    ];

    /// <summary>Tells machine code apart: by all that it depends on.</summary>
    /// <param name="version">Of the compiler.</param>
    public static string Key(string version, IEnumerable<string> options, string source) => $"{version}\n{string.Join(' ', options)}\n{source}";

    /// <exception cref="LegatoException">NVRTC is older than the GPU.</exception>
    public static void RequireTarget(CudaGpu gpu)
    {
        if (!Nvrtc.Knows(gpu.Architecture))
            throw new LegatoException(
                $"NVRTC {Nvrtc.Version()} makes no code for {gpu.Name}, whose compute capability is {gpu.Capability}",
                $"found: {CudaLibraries.Find(CudaLibrary.Compiler)}", "install a newer CUDA toolkit (its NVRTC is enough), or set LEGATO_CUDA_PATH to where it lies");
    }

    /// <summary>Begins to compile and load sources in the background. Tells no mistakes: <see cref="Load(string)"/> does.</summary>
    /// <param name="withdrawn">From then on those that aren't under way are left out.</param>
    public void Begin(IEnumerable<string> sources, CancellationToken withdrawn = default) => ahead.Begin(sources, withdrawn);

    /// <summary>Waits until all that was begun is compiled, as far as it can be, and begins no more until that work is done.</summary>
    public T Alone<T>(Func<T> work) => ahead.Alone(work);

    /// <summary>Sources compiled beside each other, and loaded.</summary>
    /// <exception cref="LegatoException">As <see cref="Load(string)"/>: of several the longest source's.</exception>
    public void Load(IEnumerable<string> sources)
    {
        string[] all = [.. sources.OrderByDescending(source => source.Length)];
        if (!device.IsOnPaper)
            Begin(all.Where(source => !modules.ContainsKey(source)));
        foreach (string source in all)
            _ = Load(source);
    }

    /// <summary>A source compiled and loaded.</summary>
    /// <exception cref="LegatoException">NVRTC is missing, or the source doesn't compile.</exception>
    public CudaModule Load(string source) =>
        known.GetOrAdd(source, _ => modules.GetOrAdd(source, _ => new Lazy<CudaModule>(() => Make(source)))).Value;

    public void Dispose()
    {
        ahead.Dispose();
        foreach (Lazy<CudaModule> module in modules.Values)
            if (module.IsValueCreated)
                module.Value.Dispose();
        modules.Clear();
        known.Clear();
    }

    private CudaModule Make(string source)
    {
        if (DebugLevel.ShowsKernels)
            Console.Error.WriteLine(source);
        if (device.IsOnPaper)
            return CudaModule.OnPaper(device);
        string[] options = Options(device.Target);
        string key = Key(version.Value, options, source);
        device.MakeCurrent();
        if (CubinCache.Find(key) is { } kept && CudaModule.TryLoad(device, kept) is { } module)
            return module;
        byte[] image = Nvrtc.Compile(source, options);
        CubinCache.Keep(key, image);
        return CudaModule.Load(device, image);
    }
}
