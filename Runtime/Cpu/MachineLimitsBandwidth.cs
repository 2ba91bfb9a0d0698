using System.Diagnostics;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace Legato.Runtime.Cpu;

/// <summary>
/// The rate of reading memory, the best of four ways: front to back; the same with software prefetch, near and far; sixteen streams side
/// by side with prefetch. The buffer is twice the largest cache, so that memory is what is read, on
/// huge pages where the system grants them.
/// </summary>
public sealed unsafe partial class MachineLimitsBandwidth : IDisposable
{
    private const long LeastBytes = 256L << 20;
    private const long MostBytes = 4L << 30;

    /// <summary>Claims of each worker: as large as may be, as what is fetched beyond a claim is fetched in vain.</summary>
    private const int Claims = 16, LeastClaim = 256 << 10, MostClaim = 2 << 20;

    private const int Streams = 16;
    private const int Rounds = 4;
    private const int NearBytes = 2 << 10, FarBytes = 8 << 10;
    private const int HugePageBytes = 2 << 20;
    private const int AdviseHugePages = 14;

    private static readonly Reader[] Ways =
    [
        (from, bytes) => ReadLinear(from, bytes, 0), (from, bytes) => ReadLinear(from, bytes, NearBytes), (from, bytes) => ReadLinear(from, bytes, FarBytes),
        ReadInStreams,
    ];

    private readonly Team team;
    private readonly long total;
    private readonly int claim;
    private readonly Reader best;
    private byte* buffer;

    /// <summary>Takes the memory, and finds out which way is the best here for all threads of the team.</summary>
    public MachineLimitsBandwidth(Team team)
    {
        this.team = team;
        total = Math.Clamp(2 * LargestCache(), LeastBytes, MostBytes) / HugePageBytes * HugePageBytes;
        claim = (int)Math.Clamp(total / (Claims * team.Count), LeastClaim, MostClaim) / LeastClaim * LeastClaim;
        buffer = (byte*)NativeMemory.AlignedAlloc((nuint)total, HugePageBytes);
        // Advice that the system may refuse, at the cost of a lower measurement.
        if (OperatingSystem.IsLinux()) _ = Advise(buffer, (nint)total, AdviseHugePages);
        team.Run(worker =>
        {
            while (worker.TryClaim((int)(total / HugePageBytes), out int page))
                new Span<byte>(buffer + (long)page * HugePageBytes, HugePageBytes).Clear();
        });
        best = Ways.MaxBy(way => Rate(team.Count, Rounds, way))!;
    }

    /// <summary>Bytes a second that all threads read, the best way, over the whole buffer once or more, for at least so long.</summary>
    public double Rate(TimeSpan least)
    {
        long start = Stopwatch.GetTimestamp();
        double bytes = 0;
        do
        {
            team.Run(worker => Read(worker, best));
            bytes += total / claim * claim;
        } while (Stopwatch.GetElapsedTime(start) < least);
        return bytes / Stopwatch.GetElapsedTime(start).TotalSeconds;
    }

    public void Dispose()
    {
        NativeMemory.AlignedFree(buffer);
        buffer = null;
    }

    internal static double Measure(Team team, int threads)
    {
        using var memory = new MachineLimitsBandwidth(team);
        return Ways.Max(way => memory.Rate(threads, Rounds, way));
    }

    private delegate int Reader(byte* from, nint bytes);

    /// <summary>Bytes, as the system tells; 0 where it doesn't.</summary>
    private static long LargestCache()
    {
        const string caches = "/sys/devices/system/cpu/cpu0/cache";
        if (!Directory.Exists(caches)) return 0;
        return Directory.EnumerateFiles(caches, "size", new EnumerationOptions { RecurseSubdirectories = true, MaxRecursionDepth = 1 })
            .Select(file => File.ReadAllText(file).Trim())
            .Max(size => size.EndsWith('K') && long.TryParse(size[..^1], out long kilobytes) ? kilobytes << 10 : 0);
    }

    private double Rate(int threads, int rounds, Reader read) => MachineLimits.BestRate(team, threads, rounds, worker => Read(worker, read));

    private double Read(Worker worker, Reader read)
    {
        double bytes = 0;
        while (worker.TryClaim((int)(total / claim), out int item))
            bytes += claim + read(buffer + (long)item * claim, claim);
        return bytes;
    }

    /// <summary>Returns zero for a buffer of zeros, which depends on all of it, so that no load is left out.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static int ReadLinear(byte* from, nint bytes, nint prefetch)
    {
        Vector256<int> a = default, b = default, c = default, d = default;
        for (byte* end = from + bytes; from < end; from += 256)
        {
            if (prefetch != 0)
                for (int line = 0; line < 256; line += 64)
                    Prefetch(from + prefetch + line);
            a |= Vector256.Load((int*)from) | Vector256.Load((int*)from + 8);
            b |= Vector256.Load((int*)from + 16) | Vector256.Load((int*)from + 24);
            c |= Vector256.Load((int*)from + 32) | Vector256.Load((int*)from + 40);
            d |= Vector256.Load((int*)from + 48) | Vector256.Load((int*)from + 56);
        }
        return Vector256.Sum(a | b | c | d);
    }

    /// <summary>A little at a time, so that streams lie as close as those of a matrix.</summary>
    private static int ReadInStreams(byte* from, nint bytes)
    {
        int read = 0;
        for (byte* end = from + bytes; from < end; from += LeastClaim)
            read |= ReadStreams(from, LeastClaim);
        return read;
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static int ReadStreams(byte* from, nint bytes)
    {
        Vector256<int> a = default, b = default;
        nint stream = bytes / Streams;
        for (nint offset = 0; offset < stream; offset += 64)
        {
            // Near its end a stream fetches the beginning of what follows.
            nint ahead = offset + 512 < stream ? offset + 512 : offset + 512 + bytes - stream;
            byte* at = from + offset;
            for (int i = 0; i < Streams; i++, at += stream)
            {
                Prefetch(at - offset + ahead);
                a |= Vector256.Load((int*)at);
                b |= Vector256.Load((int*)at + 8);
            }
        }
        return Vector256.Sum(a | b);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Prefetch(byte* from)
    {
        if (Sse.IsSupported) Sse.Prefetch0(from);
    }

    [LibraryImport("libc", EntryPoint = "madvise")]
    private static partial int Advise(void* address, nint bytes, int advice);
}
