using System.Globalization;
using System.Runtime.InteropServices;

namespace Legato.Runtime.Cpu;

/// <summary>Which cores this process may use, and the binding of a thread to one of them (Linux; elsewhere nothing is bound).</summary>
internal static unsafe partial class TeamPinning
{
    private const int MaskWords = 128; // 8192 logical processors, the largest mask Linux is built with

    /// <summary>One logical processor of every physical core in the process's affinity mask, in ascending order.</summary>
    public static int[] Cores { get; } = FindCores();

    /// <summary>How many threads a team has unless told: the cores above, within the container's processor quota.</summary>
    public static int DefaultThreads => Math.Max(1, Math.Min(Cores.Length, Environment.ProcessorCount));

    /// <summary>Binds the calling thread to a logical processor; false where the system has no such call or refuses it.</summary>
    public static bool Pin(int processor)
    {
        if (!OperatingSystem.IsLinux()) return false;
        ulong* mask = stackalloc ulong[MaskWords];
        new Span<ulong>(mask, MaskWords).Clear();
        mask[processor / 64] = 1UL << (processor % 64);
        return SetAffinity(0, MaskWords * sizeof(ulong), mask) == 0;
    }

    /// <summary>Binds the calling thread to a logical processor, none if negative, until its disposal: then it may run where it might before.</summary>
    public ref struct Binding
    {
        private fixed ulong before[MaskWords];
        private readonly bool bound;

        public Binding(int processor)
        {
            fixed (ulong* mask = before)
                bound = processor >= 0 && OperatingSystem.IsLinux() && GetAffinity(0, MaskWords * sizeof(ulong), mask) >= 0 && Pin(processor);
        }

        public void Dispose()
        {
            fixed (ulong* mask = before)
                if (bound) _ = SetAffinity(0, MaskWords * sizeof(ulong), mask);
        }
    }

    private static int[] FindCores()
    {
        int[] allowed = AllowedProcessors();
        var siblings = new HashSet<int>();
        var cores = new List<int>(allowed.Length);
        foreach (int processor in allowed)
            if (siblings.Add(processor))
            {
                cores.Add(processor);
                foreach (int sibling in SiblingsOf(processor)) siblings.Add(sibling);
            }
        return [.. cores];
    }

    private static int[] AllowedProcessors()
    {
        var processors = new List<int>();
        ulong* mask = stackalloc ulong[MaskWords];
        new Span<ulong>(mask, MaskWords).Clear();
        if (OperatingSystem.IsLinux() && GetAffinity(0, MaskWords * sizeof(ulong), mask) >= 0)
            for (int i = 0; i < MaskWords * 64; i++)
                if ((mask[i / 64] >> (i % 64) & 1) != 0)
                    processors.Add(i);
        if (processors.Count == 0)
            for (int i = 0; i < Environment.ProcessorCount; i++)
                processors.Add(i);
        return [.. processors];
    }

    /// <summary>The logical processors that share a physical core with this one, as the kernel lists them ("0,64" or "0-1").</summary>
    private static IEnumerable<int> SiblingsOf(int processor)
    {
        string path = $"/sys/devices/system/cpu/cpu{processor}/topology/thread_siblings_list";
        if (!File.Exists(path)) yield break;
        foreach (string range in File.ReadAllText(path).Trim().Split(',', StringSplitOptions.RemoveEmptyEntries))
        {
            string[] ends = range.Split('-');
            int first = int.Parse(ends[0], CultureInfo.InvariantCulture);
            int last = int.Parse(ends[^1], CultureInfo.InvariantCulture);
            for (int i = first; i <= last; i++) yield return i;
        }
    }

    [LibraryImport("libc", EntryPoint = "sched_setaffinity")]
    private static partial int SetAffinity(int thread, nint bytes, ulong* mask);

    [LibraryImport("libc", EntryPoint = "sched_getaffinity")]
    private static partial int GetAffinity(int thread, nint bytes, ulong* mask);
}
