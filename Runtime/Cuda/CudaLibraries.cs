using System.Collections.Concurrent;
using System.Reflection;
using System.Runtime.InteropServices;

namespace Legato.Runtime.Cuda;

/// <summary>A library of NVIDIA's that Legato calls, and where it may lie.</summary>
/// <param name="Name">As the declarations of its functions name it.</param>
/// <param name="Files">Its file names, the newest version first.</param>
/// <param name="Install">What to install where it is missing.</param>
/// <param name="Beside">What it loads itself from its own folder, as a pattern of file names; null where nothing.</param>
public sealed record CudaLibrary(string Name, IReadOnlyList<string> Files, string Install, string? Beside = null)
{
    internal const string DriverName = "cuda", CompilerName = "nvrtc", ProductsName = "cublasLt";

    public static CudaLibrary Driver { get; } = new(
        DriverName, OperatingSystem.IsWindows() ? ["nvcuda.dll"] : ["libcuda.so.1"], "install NVIDIA's driver, version 525 or newer");

    public static CudaLibrary Compiler { get; } = new(
        CompilerName,
        OperatingSystem.IsWindows() ? ["nvrtc64_130_0.dll", "nvrtc64_120_0.dll"] : ["libnvrtc.so.13", "libnvrtc.so.12", "libnvrtc.so"],
        "install the CUDA toolkit 12 or 13 (its NVRTC is enough: the package cuda-nvrtc, or pip's nvidia-cuda-nvrtc), or set LEGATO_CUDA_PATH to where it lies",
        OperatingSystem.IsWindows() ? "nvrtc-builtins64_*.dll" : "libnvrtc-builtins.so.*");

    public static CudaLibrary Products { get; } = new(
        ProductsName,
        OperatingSystem.IsWindows() ? ["cublasLt64_13.dll", "cublasLt64_12.dll"] : ["libcublasLt.so.13", "libcublasLt.so.12", "libcublasLt.so"],
        "install the CUDA toolkit 12 or 13 (its cuBLAS is enough: the package libcublas, or pip's nvidia-cublas), or set LEGATO_CUDA_PATH to where it lies");

    public static IReadOnlyList<CudaLibrary> All { get; } = [Driver, Compiler, Products];
}

/// <summary>
/// Finds NVIDIA's libraries at run time: in LEGATO_CUDA_PATH, where the system's loader looks (LD_LIBRARY_PATH
/// included), in CUDA toolkits and in Python's packages.
/// </summary>
public static class CudaLibraries
{
    public const string PathVariable = "LEGATO_CUDA_PATH";

    /// <summary>CUDA 12.4 is 12040.</summary>
    private const int VersionOfMajor = 1000;

    /// <summary>What was found of each library and passed over: it is newer than the driver.</summary>
    private static readonly ConcurrentDictionary<string, string> Unfit = new();

    /// <summary>
    /// The reading of their files, begun once: at a program's first start, when much of them is wanted and none of it may be in memory. Without a
    /// driver every start would be the first.
    /// </summary>
    private static readonly Lazy<Task> Reading = new(() => CubinCache.IsEmpty && Places(CudaLibrary.Driver).Any(Path.IsPathRooted)
        ? LibraryReading.Begin(FilesAhead()).ContinueWith(_ => Timeline.Mark("libraries read"), TaskScheduler.Default)
        : Task.CompletedTask);

    // Each library on its own: one takes a quarter of a second to load, in which another's functions are called.
    private static readonly ConcurrentDictionary<string, Lazy<Loaded?>> Known = new();

    static CudaLibraries() => NativeLibrary.SetDllImportResolver(
        typeof(CudaLibraries).Assembly, (name, _, _) => Known.TryGetValue(name, out Lazy<Loaded?>? known) ? known.Value?.Handle ?? 0 : 0);

    /// <summary>Where a library was found: its path, or its bare name where the system's loader knew it; null where it is nowhere.</summary>
    public static string? Find(CudaLibrary library) => Load(library)?.Path;

    /// <summary>Begins to load all of them, each by itself: whether they are found.</summary>
    internal static Task<bool> LoadAll()
    {
        _ = Reading.Value;
        return Task.Run(() => CudaLibrary.All.AsParallel().All(library => Load(library) is not null));
    }

    /// <summary>The files that will most likely be loaded, in the order in which they are wanted: where one of several versions lies, only the system's loader knows.</summary>
    internal static IEnumerable<string> FilesAhead()
    {
        foreach (CudaLibrary library in CudaLibrary.All)
            if (Places(library).FirstOrDefault(Path.IsPathRooted) is { } file)
            {
                yield return file;
                if (library.Beside is { } pattern)
                    foreach (string beside in Directory.EnumerateFiles(Path.GetDirectoryName(file)!, pattern))
                        yield return beside;
            }
    }

    /// <summary>The folders that are searched beside the system loader's own.</summary>
    public static IReadOnlyList<string> Folders() => [.. Candidates().Distinct().Where(Directory.Exists)];

    /// <exception cref="LegatoException">The library is nowhere.</exception>
    internal static void Require(CudaLibrary library)
    {
        if (Load(library) is not null)
            return;
        throw Unfit.TryGetValue(library.Name, out string? unfit)
            ? new LegatoException($"{unfit} is newer than NVIDIA's driver, which knows CUDA {CudaMachine.DriverVersion()}", remedy: $"update the driver, or {library.Install}")
            : new LegatoException(
                $"{library.Files[0]} can't be found",
                $"searched: the system loader's folders, {string.Join(", ", Folders())}", library.Install);
    }

    /// <summary>Null where it is nowhere; it may be somewhere the next time.</summary>
    private static Loaded? Load(CudaLibrary library)
    {
        Loaded? loaded = Known.GetOrAdd(library.Name, _ => new Lazy<Loaded?>(() => Search(library, DriverMajor))).Value;
        if (loaded is null)
            _ = Known.TryRemove(library.Name, out _);
        return loaded;
    }

    /// <summary>The first that can be loaded and isn't newer than the driver, as far as that is known: a driver of CUDA 12 takes no library of 13.</summary>
    internal static Loaded? Search(CudaLibrary library, Func<int?> driver)
    {
        foreach (string path in Places(library))
        {
            if (!NativeLibrary.TryLoad(path, out nint handle))
                continue;
            if (MajorOf(handle) is not { } major || driver() is not { } newest || major <= newest)
                return new Loaded(handle, path);
            NativeLibrary.Free(handle);
            Unfit[library.Name] = path;
        }
        return null;
    }

    /// <summary>The version of CUDA that a library was made for; null where it doesn't tell.</summary>
    private static unsafe int? MajorOf(nint library)
    {
        (int major, int minor) = (0, 0);
        if (NativeLibrary.TryGetExport(library, "nvrtcVersion", out nint function))
            return ((delegate* unmanaged<int*, int*, int>)function)(&major, &minor) == 0 ? major : null;
        return NativeLibrary.TryGetExport(library, "cublasLtGetCudartVersion", out function) ? (int)((delegate* unmanaged<nuint>)function)() / VersionOfMajor : null;
    }

    /// <summary>The newest version of CUDA that the driver knows; null where there is none.</summary>
    private static int? DriverMajor() =>
        Load(CudaLibrary.Driver) is not null && Driver.DriverGetVersion(out int version) == 0 ? version / VersionOfMajor : null;

    // The user's own folder comes before the system's.
    private static IEnumerable<string> Places(CudaLibrary library)
    {
        string[] own = [.. Under(Environment.GetEnvironmentVariable(PathVariable))];
        return Files(own).Concat(library.Files).Concat(Files(Folders()));

        IEnumerable<string> Files(IEnumerable<string> folders) =>
            folders.SelectMany(folder => library.Files.Select(file => Path.Combine(folder, file))).Where(File.Exists);
    }

    private static IEnumerable<string> Candidates()
    {
        foreach (string variable in new[] { PathVariable, "CUDA_HOME", "CUDA_PATH" })
            foreach (string folder in Under(Environment.GetEnvironmentVariable(variable)))
                yield return folder;
        foreach (string folder in (Environment.GetEnvironmentVariable("LD_LIBRARY_PATH") ?? "").Split(':', StringSplitOptions.RemoveEmptyEntries))
            yield return folder;
        foreach (string toolkit in Matches("/usr/local", "cuda*").OrderDescending(StringComparer.Ordinal))
            foreach (string folder in Under(toolkit))
                yield return folder;
        foreach (string folder in new[] { "/usr/local/nvidia/lib64", "/usr/local/nvidia/lib", "/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/usr/lib64", "/usr/lib/wsl/lib" })
            yield return folder;
        foreach (string python in Pythons())
            foreach (string packages in new[] { "site-packages", "dist-packages" })
                foreach (string package in Matches(Path.Combine(python, packages, "nvidia"), "*"))
                    yield return Path.Combine(package, "lib");
    }

    private static IEnumerable<string> Under(string? toolkit) => string.IsNullOrEmpty(toolkit)
        ? []
        : [toolkit, Path.Combine(toolkit, "lib64"), Path.Combine(toolkit, "lib"), Path.Combine(toolkit, "targets", "x86_64-linux", "lib"), Path.Combine(toolkit, "bin")];

    private static IEnumerable<string> Pythons()
    {
        string home = Environment.GetFolderPath(Environment.SpecialFolder.UserProfile);
        string?[] roots = [Environment.GetEnvironmentVariable("VIRTUAL_ENV"), Environment.GetEnvironmentVariable("CONDA_PREFIX"), Path.Combine(home, ".local"), "/usr/local", "/usr"];
        return roots.Where(r => !string.IsNullOrEmpty(r)).SelectMany(r => Matches(Path.Combine(r!, "lib"), "python3*"));
    }

    private static IEnumerable<string> Matches(string folder, string pattern)
    {
        try
        {
            return Directory.Exists(folder) ? Directory.GetDirectories(folder, pattern) : [];
        }
        catch (UnauthorizedAccessException)
        {
            return [];
        }
    }

    internal sealed record Loaded(nint Handle, string Path);
}
