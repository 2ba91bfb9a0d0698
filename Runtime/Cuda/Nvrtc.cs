using System.Runtime.InteropServices;
using System.Text;

namespace Legato.Runtime.Cuda;

/// <summary>NVIDIA's run-time compiler.</summary>
internal static unsafe partial class Nvrtc
{
    private const string Library = CudaLibrary.CompilerName;

    // What kernels don't use isn't read for each of them: textures, CUDA's runtime, launches from the device. Since 12.4.
    private static readonly Lazy<string[]> OmitsUnused = new(() =>
    {
        Check(GetVersion(out int major, out int minor), "asking for its version");
        return (major, minor).CompareTo((12, 4)) >= 0 ? ["--minimal"] : [];
    });

    /// <summary>Such as "13.0".</summary>
    public static string Version()
    {
        Check(GetVersion(out int major, out int minor), "asking for its version");
        return FormattableString.Invariant($"{major}.{minor}");
    }

    /// <summary>Whether it makes code for an architecture, such as 90.</summary>
    public static bool Knows(int architecture)
    {
        Check(GetArchitectureCount(out int count), "asking for its architectures");
        int[] known = new int[count];
        Check(GetArchitectures(known), "asking for its architectures");
        return known.Contains(architecture);
    }

    /// <summary>Machine code (a cubin) of a source.</summary>
    /// <exception cref="LegatoException">The source doesn't compile: a defect of Legato; the compiler's log is in the message.</exception>
    public static byte[] Compile(string source, params string[] options) => Compile(source, out _, options);

    /// <summary>The same, with what the compiler remarks.</summary>
    public static byte[] Compile(string source, out string log, params string[] options)
    {
        Check(CreateProgram(out nint program, source, "legato.cu", 0, 0, 0), "taking a source");
        try
        {
            string[] all = [.. OmitsUnused.Value, .. options];
            int result = CompileProgram(program, all.Length, all);
            if (result != 0)
                throw new LegatoException(
                    $"NVRTC can't compile a kernel: {Log(program)}", remedy: "this is a defect of Legato; --device cpu goes round it", inner: new InvalidOperationException(source));
            Check(GetCubinSize(program, out nuint bytes), "giving machine code");
            byte[] image = new byte[bytes];
            Check(GetCubin(program, image), "giving machine code");
            log = Log(program);
            return image;
        }
        finally
        {
            DestroyProgram(ref program);
        }
    }

    private static string Log(nint program)
    {
        if (GetLogSize(program, out nuint bytes) != 0)
            return "";
        byte[] log = new byte[bytes];
        return GetLog(program, log) == 0 ? Encoding.UTF8.GetString(log).TrimEnd('\0') : "";
    }

    private static void Check(int result, string doing)
    {
        if (result != 0)
            throw new LegatoException($"NVRTC failed while {doing}: error {result}", remedy: CudaLibrary.Compiler.Install);
    }

    [LibraryImport(Library, EntryPoint = "nvrtcVersion")]
    private static partial int GetVersion(out int major, out int minor);

    [LibraryImport(Library, EntryPoint = "nvrtcGetNumSupportedArchs")]
    private static partial int GetArchitectureCount(out int count);

    [LibraryImport(Library, EntryPoint = "nvrtcGetSupportedArchs")]
    private static partial int GetArchitectures([Out] int[] architectures);

    [LibraryImport(Library, EntryPoint = "nvrtcCreateProgram", StringMarshalling = StringMarshalling.Utf8)]
    private static partial int CreateProgram(out nint program, string source, string name, int headers, nint headerTexts, nint headerNames);

    [LibraryImport(Library, EntryPoint = "nvrtcDestroyProgram")]
    private static partial int DestroyProgram(ref nint program);

    [LibraryImport(Library, EntryPoint = "nvrtcCompileProgram", StringMarshalling = StringMarshalling.Utf8)]
    private static partial int CompileProgram(nint program, int count, string[] options);

    [LibraryImport(Library, EntryPoint = "nvrtcGetCUBINSize")]
    private static partial int GetCubinSize(nint program, out nuint bytes);

    [LibraryImport(Library, EntryPoint = "nvrtcGetCUBIN")]
    private static partial int GetCubin(nint program, [Out] byte[] image);

    [LibraryImport(Library, EntryPoint = "nvrtcGetProgramLogSize")]
    private static partial int GetLogSize(nint program, out nuint bytes);

    [LibraryImport(Library, EntryPoint = "nvrtcGetProgramLog")]
    private static partial int GetLog(nint program, [Out] byte[] log);
}
