using System.Collections.Concurrent;
using System.Reflection;
using System.Runtime.InteropServices;

namespace Legato.Runtime.Cuda;

/// <summary>A library of NVIDIA's that Legato calls, and where it may lie.</summary>
/// <param name="Name">As the declarations of its functions name it.</param>
/// <param name="Files">Its file names, the newest version first.</param>
/// <param name="Install">What to install where it is missing.</param>
public sealed record CudaLibrary(string Name, IReadOnlyList<string> Files, string Install)
{
    internal const string DriverName = "cuda", CompilerName = "nvrtc", ProductsName = "cublasLt";

    public static CudaLibrary Driver { get; } = new(
        DriverName, OperatingSystem.IsWindows() ? ["nvcuda.dll"] : ["libcuda.so.1"], "install NVIDIA's driver, version 525 or newer");

    public static CudaLibrary Compiler { get; } = new(
        CompilerName,
        OperatingSystem.IsWindows() ? ["nvrtc64_130_0.dll", "nvrtc64_120_0.dll"] : ["libnvrtc.so.13", "libnvrtc.so.12", "libnvrtc.so"],
        "install the CUDA toolkit 12 or 13 (its NVRTC is enough: the package cuda-nvrtc, or pip's nvidia-cuda-nvrtc), or set LEGATO_CUDA_PATH to where it lies");

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

    // Each library on its own: one takes a quarter of a second to load, in which another's functions are called.
    private static readonly ConcurrentDictionary<string, Lazy<Loaded?>> Known = new();

    static CudaLibraries() => NativeLibrary.SetDllImportResolver(
        typeof(CudaLibraries).Assembly, (name, _, _) => Known.TryGetValue(name, out Lazy<Loaded?>? known) ? known.Value?.Handle ?? 0 : 0);

    /// <summary>Where a library was found: its path, or its bare name where the system's loader knew it; null where it is nowhere.</summary>
    public static string? Find(CudaLibrary library) => Load(library)?.Path;

    /// <summary>Begins to load all of them, each by itself: whether they are found.</summary>
    internal static Task<bool> LoadAll() => Task.Run(() => CudaLibrary.All.AsParallel().All(library => Load(library) is not null));

    /// <summary>The folders that are searched beside the system loader's own.</summary>
    public static IReadOnlyList<string> Folders() => [.. Candidates().Distinct().Where(Directory.Exists)];

    /// <exception cref="LegatoException">The library is nowhere.</exception>
    internal static void Require(CudaLibrary library)
    {
        if (Load(library) is null)
            throw new LegatoException(
                $"{library.Files[0]} can't be found",
                $"searched: the system loader's folders, {string.Join(", ", Folders())}", library.Install);
    }

    /// <summary>Null where it is nowhere; it may be somewhere the next time.</summary>
    private static Loaded? Load(CudaLibrary library)
    {
        Loaded? loaded = Known.GetOrAdd(library.Name, _ => new Lazy<Loaded?>(() => Search(library))).Value;
        if (loaded is null)
            _ = Known.TryRemove(library.Name, out _);
        return loaded;
    }

    private static Loaded? Search(CudaLibrary library)
    {
        foreach (string path in Places(library))
            if (NativeLibrary.TryLoad(path, out nint handle))
                return new Loaded(handle, path);
        return null;
    }

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

    private sealed record Loaded(nint Handle, string Path);
}
