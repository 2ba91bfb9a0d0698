using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Runtime.Intrinsics;

namespace Legato.Runtime.Cpu;

/// <summary>The rate of reading memory front to back, with and without software prefetch, the better counting.</summary>
internal static unsafe class MachineLimitsBandwidth
{
    private const long Bytes = 256L << 20;
    private const int ChunkBytes = 1 << 20;
    private const int Rounds = 4;
    private const int PrefetchBytes = 4096;

    public static double Measure(Team team, int threads)
    {
        byte* buffer = (byte*)NativeMemory.AlignedAlloc((nuint)Bytes, 64);
        try
        {
            team.Run(worker =>
            {
                while (worker.TryClaim((int)(Bytes / ChunkBytes), out int chunk))
                    new Span<byte>(buffer + (long)chunk * ChunkBytes, ChunkBytes).Clear();
            });
            return Math.Max(Rate(team, threads, buffer, 0), Rate(team, threads, buffer, PrefetchBytes));
        }
        finally
        {
            NativeMemory.AlignedFree(buffer);
        }
    }

    private static double Rate(Team team, int threads, byte* buffer, int prefetch) =>
        MachineLimits.BestRate(team, threads, Rounds, worker =>
        {
            double bytes = 0;
            while (worker.TryClaim((int)(Bytes / ChunkBytes), out int chunk))
                bytes += ChunkBytes + Read(buffer + (long)chunk * ChunkBytes, ChunkBytes, prefetch);
            return bytes;
        });

    /// <summary>Returns zero for a buffer of zeros, which depends on all of it, so that no load is left out.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static int Read(byte* from, nint bytes, nint prefetch)
    {
        Vector256<int> a = default, b = default, c = default, d = default;
        for (byte* end = from + bytes; from < end; from += 256)
        {
            if (prefetch != 0) Prefetch(from + prefetch);
            a |= Vector256.Load((int*)from) | Vector256.Load((int*)from + 8);
            b |= Vector256.Load((int*)from + 16) | Vector256.Load((int*)from + 24);
            c |= Vector256.Load((int*)from + 32) | Vector256.Load((int*)from + 40);
            d |= Vector256.Load((int*)from + 48) | Vector256.Load((int*)from + 56);
        }
        return Vector256.Sum(a | b | c | d);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Prefetch(byte* from)
    {
        if (!System.Runtime.Intrinsics.X86.Sse.IsSupported) return;
        System.Runtime.Intrinsics.X86.Sse.Prefetch0(from);
        System.Runtime.Intrinsics.X86.Sse.Prefetch0(from + 64);
        System.Runtime.Intrinsics.X86.Sse.Prefetch0(from + 128);
        System.Runtime.Intrinsics.X86.Sse.Prefetch0(from + 192);
    }
}
