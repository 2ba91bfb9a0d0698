using System.Diagnostics;
using System.Runtime.ExceptionServices;

namespace Legato.Runtime.Cpu;

/// <summary>How a <see cref="Team"/> is made.</summary>
/// <param name="Threads">How many workers; 0 for one a physical core that the process may use.</param>
/// <param name="Pin">Whether each worker is bound to a core of its own (Linux only).</param>
/// <param name="FirstCore">Which of the available cores worker 0 takes, so that two teams needn't share cores.</param>
public sealed record TeamOptions(int Threads = 0, bool Pin = true, int FirstCore = 0);

/// <summary>
/// The CPU's threads, executing one program together (SPMD): <see cref="Run"/> wakes all workers once, each executes
/// the same code, and barriers keep them in step. One run is meant to hold a whole plan of hundreds of steps.
/// The caller's thread is worker 0, bound to its core for the run alone: so nobody has to be woken between two tokens. The
/// team owns the other threads, which sleep when idle.
/// </summary>
/// <remarks>A run allocates nothing if the caller keeps its delegate. Runs from several threads queue up.</remarks>
public sealed class Team : IDisposable
{
    /// <summary>Of how many steps between two barriers claims can be told apart.</summary>
    internal const int ClaimSets = 16;

    private const int PartSets = 2 * ClaimSets;

    /// <summary>Other threads may need a worker's core between two runs, so workers soon yield; they sleep once no run comes.</summary>
    private const double IdleSpinMicroseconds = 5;
    private const double IdleYieldMicroseconds = 300;
    private const double BarrierSpinMicroseconds = 50;
    private const double BarrierYieldMicroseconds = 2000;

    private readonly object _runLock = new();
    private readonly Worker[] _workers;
    private readonly Thread[] _threads;
    private readonly int[] _cores;
    private readonly TeamGate _start = new(IdleSpinMicroseconds, IdleYieldMicroseconds);
    private readonly TeamGate _barrier = new(BarrierSpinMicroseconds, BarrierYieldMicroseconds);
    private readonly TeamGate _done = new(BarrierSpinMicroseconds, BarrierYieldMicroseconds);
    private PaddedInt _arrived;
    private readonly PaddedInt[] _claims = new PaddedInt[ClaimSets];

    /// <summary>Of each worker's own part of a step, by set of claims in two banks: how many items have been taken from its front, and above from its back.</summary>
    private readonly PaddedLong[] _parts;
    private PaddedInt _running;
    private Action<Worker>? _body;
    private ExceptionDispatchInfo? _failure;
    private volatile bool _disposed;

    /// <exception cref="LegatoException">The thread count or the first core is out of range.</exception>
    public Team(TeamOptions? options = null)
    {
        options ??= new TeamOptions();
        int count = options.Threads == 0 ? TeamPinning.DefaultThreads : options.Threads;
        if (count is < 0 or > CpuDeviceOptions.MostThreads)
            throw new LegatoException($"a team of {count} threads can't be made", "threads", $"choose 1 to {CpuDeviceOptions.MostThreads}");
        if (options.FirstCore < 0)
            throw new LegatoException($"there is no core {options.FirstCore}", "first core", "count the available cores from 0");
        _workers = new Worker[count];
        _parts = new PaddedLong[count * PartSets];
        bool pin = options.Pin && count <= TeamPinning.Cores.Length;
        _cores = [.. Enumerable.Range(0, count).Select(i => pin ? TeamPinning.Cores[(options.FirstCore + i) % TeamPinning.Cores.Length] : -1)];
        for (int i = 0; i < count; i++) _workers[i] = new Worker(this, i);
        _threads = [.. _workers.Skip(1).Select(StartThread)];
    }

    /// <summary>How many workers a team has unless told: one a physical core that the process may use.</summary>
    public static int DefaultThreads => TeamPinning.DefaultThreads;

    /// <summary>How many workers the team has.</summary>
    public int Count => _workers.Length;

    /// <summary>
    /// Executes <paramref name="body"/> on all workers and returns when the last has finished. The first exception that a
    /// worker throws is rethrown here, after the others have stopped at their next barrier; the team stays usable.
    /// </summary>
    public void Run(Action<Worker> body)
    {
        ArgumentNullException.ThrowIfNull(body);
        bool isWorker = Array.IndexOf(_threads, Thread.CurrentThread) >= 0 || Monitor.IsEntered(_runLock);
        if (isWorker)
            throw new InvalidOperationException("a worker can't start a run of its own team");
        lock (_runLock)
        {
            ObjectDisposedException.ThrowIf(_disposed, this);
            _body = body;
            if (_failure is not null)
            {
                Array.Clear(_parts);
                foreach (Worker worker in _workers) worker.Reset();
            }
            _failure = null;
            _arrived.Value = 0;
            ClearClaims();
            _running.Value = Count;
            int turn = _done.Turn;
            _start.Advance();
            using (TeamPinning.Binding binding = new(_cores[0])) Execute(_workers[0]);
            if (Interlocked.Decrement(ref _running.Value) > 0) _done.Await(turn);
            _body = null;
            _failure?.Throw();
        }
    }

    /// <summary>Stops the threads, after a run in progress.</summary>
    public void Dispose()
    {
        lock (_runLock)
        {
            if (_disposed) return;
            _disposed = true;
            _start.Advance();
        }
        foreach (Thread thread in _threads) thread.Join();
    }

    internal int Claim(int set) => Interlocked.Increment(ref _claims[set].Value) - 1;

    internal bool TryTake(int worker, int set, int items, out int first, out int count)
    {
        ref long part = ref Part(worker, set);
        while (true)
        {
            long seen = Volatile.Read(ref part);
            first = (int)seen;
            count = (items - first - (int)(seen >> 32) + 1) / 2;
            if (count == 0) return false;
            if (Interlocked.CompareExchange(ref part, seen + count, seen) == seen) return true;
        }
    }

    /// <summary>A third: who begins elsewhere has to fetch what the other would find fetched, and takes twice as long for little.</summary>
    internal bool TryTakeOther(int worker, int set, int items, out int first, out int count)
    {
        ref long part = ref Part(worker, set);
        while (true)
        {
            long seen = Volatile.Read(ref part);
            (int front, int back) = ((int)seen, (int)(seen >> 32));
            count = (items - front - back + 1) / 3;
            first = items - back - count;
            if (front == 0 || count == 0) return false;
            if (Interlocked.CompareExchange(ref part, seen + ((long)count << 32), seen) == seen) return true;
        }
    }

    internal void ClearPart(int worker, int set) => Part(worker, set) = 0;

    private ref long Part(int worker, int set) => ref _parts[worker * PartSets + set].Value;

    internal void Barrier(IIdleWork? idle)
    {
        // The turn is read before the failure: a failing worker sets the failure and then advances the turn,
        // so whoever misses the failure here is released by that advance.
        int turn = _barrier.Turn;
        ThrowIfFailed();
        if (Interlocked.Increment(ref _arrived.Value) == Count)
        {
            _arrived.Value = 0;
            ClearClaims();
            _barrier.Advance();
        }
        else _barrier.Await(turn, idle);
        ThrowIfFailed();
    }

    internal void AwaitAtLeast(ref int counter, int value)
    {
        long spinUntil = 0;
        while (Volatile.Read(ref counter) < value)
        {
            ThrowIfFailed();
            long now = Stopwatch.GetTimestamp();
            if (spinUntil == 0) spinUntil = now + (long)(BarrierSpinMicroseconds * Stopwatch.Frequency / 1e6);
            if (now < spinUntil) TeamGate.Pause();
            else Thread.Yield();
        }
    }

    private void ClearClaims()
    {
        for (int set = 0; set < ClaimSets; set++) _claims[set].Value = 0;
    }

    private Thread StartThread(Worker worker)
    {
        var thread = new Thread(() => Work(worker)) { IsBackground = true, Name = $"Legato worker {worker.Index}" };
        thread.Start();
        return thread;
    }

    private void Work(Worker worker)
    {
        if (_cores[worker.Index] is >= 0 and int core) TeamPinning.Pin(core);
        for (int turn = 0; ; turn++)
        {
            _start.Await(turn);
            if (_disposed) return;
            Execute(worker);
            if (Interlocked.Decrement(ref _running.Value) == 0) _done.Advance();
        }
    }

    private void Execute(Worker worker)
    {
        try
        {
            worker.Start();
            _body!(worker);
        }
        catch (StoppedByPeerException)
        {
            // The peer's own exception is the one to report.
        }
        catch (Exception exception)
        {
            Interlocked.CompareExchange(ref _failure, ExceptionDispatchInfo.Capture(exception), null);
            _barrier.Advance();
        }
    }

    private void ThrowIfFailed()
    {
        if (Volatile.Read(ref _failure) is not null) throw new StoppedByPeerException();
    }

    /// <summary>Unwinds a worker whose peer has failed.</summary>
    private sealed class StoppedByPeerException : Exception;
}
