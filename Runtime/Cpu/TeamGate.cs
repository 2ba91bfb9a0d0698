using System.Diagnostics;
using System.Runtime.InteropServices;
using System.Runtime.Intrinsics.X86;

namespace Legato.Runtime.Cpu;

/// <summary>
/// A turn counter that threads wait on: a bounded spin, then yields to the scheduler, then sleep.
/// Whoever finds no sleeper advances the turn without entering the kernel.
/// </summary>
internal sealed class TeamGate(double spinMicroseconds, double yieldMicroseconds)
{
    private readonly long _spinTicks = Ticks(spinMicroseconds);
    private readonly long _yieldTicks = Ticks(yieldMicroseconds);
    private readonly object _lock = new();
    private int _sleepers;
    private PaddedInt _turn;

    public int Turn => Volatile.Read(ref _turn.Value);

    /// <summary>Begins the next turn and wakes whoever sleeps.</summary>
    public void Advance()
    {
        Interlocked.Increment(ref _turn.Value);
        if (Volatile.Read(ref _sleepers) == 0) return;
        lock (_lock) Monitor.PulseAll(_lock);
    }

    /// <summary>Returns once the turn is no longer <paramref name="turn"/>; until then idle work is done whenever there is any.</summary>
    public void Await(int turn, IIdleWork? idle = null)
    {
        if (Turn != turn) return;
        long start = Stopwatch.GetTimestamp(), waited = 0;
        for (; waited < _spinTicks + _yieldTicks; waited = Stopwatch.GetTimestamp() - start)
        {
            if (idle?.Step() == true) start = Stopwatch.GetTimestamp();
            else if (waited < _spinTicks) Spin(turn);
            else Thread.Yield();
            if (Turn != turn) return;
        }
        Sleep(turn);
    }

    public static void Pause()
    {
        if (X86Base.IsSupported) X86Base.Pause();
        else Thread.SpinWait(1);
    }

    private void Spin(int turn)
    {
        for (int i = 0; i < 16 && Turn == turn; i++) Pause();
    }

    private void Sleep(int turn)
    {
        lock (_lock)
        {
            // The full fence of Increment pairs with the one in Advance: either this thread sees the new turn,
            // or Advance sees a sleeper.
            Interlocked.Increment(ref _sleepers);
            while (Turn == turn) Monitor.Wait(_lock);
            Interlocked.Decrement(ref _sleepers);
        }
    }

    private static long Ticks(double microseconds) => (long)(microseconds * Stopwatch.Frequency / 1e6);
}

/// <summary>What a thread does while it waits.</summary>
internal interface IIdleWork
{
    /// <summary>A little of it; false once nothing is left.</summary>
    bool Step();
}

/// <summary>An integer alone on its cache lines, so that threads that write it disturb no neighbour.</summary>
[StructLayout(LayoutKind.Explicit, Size = 192)]
internal struct PaddedInt
{
    [FieldOffset(64)] public int Value;
}

/// <summary>The same, of 64 bits.</summary>
[StructLayout(LayoutKind.Explicit, Size = 192)]
internal struct PaddedLong
{
    [FieldOffset(64)] public long Value;
}
