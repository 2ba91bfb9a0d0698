using System.Diagnostics;
using System.Globalization;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace Legato.Runtime.Cpu;

/// <summary>
/// What this machine can do at most, measured: the roof under which a kernel's speed is judged (Williams, Waterman and
/// Patterson, "Roofline", 2009).
/// </summary>
/// <param name="Processor">The processor's name, as the system gives it.</param>
/// <param name="Cores">Physical cores that the process may use.</param>
/// <param name="Threads">Workers that "all" means.</param>
/// <param name="Isa">The instruction set measured.</param>
/// <param name="FlopsOneThread">float32 operations a second, a multiply-add counting two, by one thread.</param>
/// <param name="FlopsAllThreads">The same by all threads.</param>
/// <param name="ReadBytesOneThread">Bytes a second that one thread reads from memory.</param>
/// <param name="ReadBytesAllThreads">The same by all threads.</param>
public sealed record MachineLimits(
    string Processor, int Cores, int Threads, CpuIsa Isa,
    double FlopsOneThread, double FlopsAllThreads, double ReadBytesOneThread, double ReadBytesAllThreads)
{
    /// <summary>Measures with the threads of this team, in about a second.</summary>
    public static MachineLimits Measure(Team team)
    {
        CpuIsa isa = CpuIsaChoice.Active;
        return new MachineLimits(
            ProcessorName(), TeamPinning.Cores.Length, team.Count, isa,
            MachineLimitsFlops.Measure(team, isa, 1), MachineLimitsFlops.Measure(team, isa, team.Count),
            MachineLimitsBandwidth.Measure(team, 1), MachineLimitsBandwidth.Measure(team, team.Count));
    }

    public override string ToString() => string.Create(CultureInfo.InvariantCulture,
        $"{Processor}, {Counted.Of(Cores, "core")}, {Isa}: {FlopsOneThread / 1e9:F0} GFLOP/s by one thread, {FlopsAllThreads / 1e9:F0} by {Threads}; " +
        $"reads {ReadBytesOneThread / 1e9:F1} GB/s by one thread, {ReadBytesAllThreads / 1e9:F1} by {Threads}");

    private static string ProcessorName()
    {
        const string path = "/proc/cpuinfo";
        if (File.Exists(path))
            foreach (string line in File.ReadLines(path))
                if (line.StartsWith("model name", StringComparison.Ordinal))
                    return line[(line.IndexOf(':') + 1)..].Trim();
        return RuntimeInformation.ProcessArchitecture.ToString();
    }

    /// <summary>
    /// The best rate among rounds, in units a second: each round all workers start together, the first <paramref name="threads"/>
    /// do <paramref name="work"/>, which says how many units it did, and the round lasts until the last has finished.
    /// </summary>
    internal static double BestRate(Team team, int threads, int rounds, Func<Worker, double> work)
    {
        double best = 0;
        var units = new double[team.Count];
        long started = 0;
        for (int round = 0; round < rounds; round++)
        {
            long ended = 0;
            team.Run(worker =>
            {
                worker.Barrier();
                if (worker.Index == 0) started = Stopwatch.GetTimestamp();
                worker.Barrier();
                units[worker.Index] = worker.Index < threads ? work(worker) : 0;
                worker.Barrier();
                if (worker.Index == 0) ended = Stopwatch.GetTimestamp();
            });
            double sum = 0;
            foreach (double done in units) sum += done;
            best = Math.Max(best, sum * Stopwatch.Frequency / (ended - started));
        }
        return best;
    }
}

/// <summary>The rate of multiply-adds on registers alone: ten independent chains, more than latency times throughput.</summary>
internal static class MachineLimitsFlops
{
    private const int Chains = 10;
    private const int Steps = 2_000_000;
    private const int Rounds = 12;

    public static double Measure(Team team, CpuIsa isa, int threads) => MachineLimits.BestRate(team, threads, Rounds, _ => isa switch
    {
        CpuIsa.Avx512 => Run512(Steps) + 2.0 * Chains * Steps * Vector512<float>.Count,
        CpuIsa.Avx2 => Run256(Steps) + 2.0 * Chains * Steps * Vector256<float>.Count,
        _ => Run128(Steps) + 2.0 * Chains * Steps * Vector128<float>.Count,
    });

    /// <summary>Returns zero, which depends on every chain, so that none is left out.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static double Run512(int steps)
    {
        Vector512<float> x = Vector512.Create(0.5f);
        Vector512<float> a = x, b = x, c = x, d = x, e = x, f = x, g = x, h = x, i = x, j = x;
        for (; steps > 0; steps--)
        {
            a = Avx512F.FusedMultiplyAdd(a, x, x); b = Avx512F.FusedMultiplyAdd(b, x, x);
            c = Avx512F.FusedMultiplyAdd(c, x, x); d = Avx512F.FusedMultiplyAdd(d, x, x);
            e = Avx512F.FusedMultiplyAdd(e, x, x); f = Avx512F.FusedMultiplyAdd(f, x, x);
            g = Avx512F.FusedMultiplyAdd(g, x, x); h = Avx512F.FusedMultiplyAdd(h, x, x);
            i = Avx512F.FusedMultiplyAdd(i, x, x); j = Avx512F.FusedMultiplyAdd(j, x, x);
        }
        return Vector512.Sum(a + b + c + d + e + f + g + h + i + j) > 0 ? 0 : 1;
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static double Run256(int steps)
    {
        Vector256<float> x = Vector256.Create(0.5f);
        Vector256<float> a = x, b = x, c = x, d = x, e = x, f = x, g = x, h = x, i = x, j = x;
        for (; steps > 0; steps--)
        {
            a = Fma.MultiplyAdd(a, x, x); b = Fma.MultiplyAdd(b, x, x);
            c = Fma.MultiplyAdd(c, x, x); d = Fma.MultiplyAdd(d, x, x);
            e = Fma.MultiplyAdd(e, x, x); f = Fma.MultiplyAdd(f, x, x);
            g = Fma.MultiplyAdd(g, x, x); h = Fma.MultiplyAdd(h, x, x);
            i = Fma.MultiplyAdd(i, x, x); j = Fma.MultiplyAdd(j, x, x);
        }
        return Vector256.Sum(a + b + c + d + e + f + g + h + i + j) > 0 ? 0 : 1;
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static double Run128(int steps)
    {
        Vector128<float> x = Vector128.Create(0.5f);
        Vector128<float> a = x, b = x, c = x, d = x, e = x, f = x, g = x, h = x, i = x, j = x;
        for (; steps > 0; steps--)
        {
            a = Vector128.MultiplyAddEstimate(a, x, x); b = Vector128.MultiplyAddEstimate(b, x, x);
            c = Vector128.MultiplyAddEstimate(c, x, x); d = Vector128.MultiplyAddEstimate(d, x, x);
            e = Vector128.MultiplyAddEstimate(e, x, x); f = Vector128.MultiplyAddEstimate(f, x, x);
            g = Vector128.MultiplyAddEstimate(g, x, x); h = Vector128.MultiplyAddEstimate(h, x, x);
            i = Vector128.MultiplyAddEstimate(i, x, x); j = Vector128.MultiplyAddEstimate(j, x, x);
        }
        return Vector128.Sum(a + b + c + d + e + f + g + h + i + j) > 0 ? 0 : 1;
    }
}
