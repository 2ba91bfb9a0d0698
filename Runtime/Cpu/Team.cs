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
    private readonly TeamGate _progressed = new(BarrierSpinMicroseconds, BarrierYieldMicroseconds);
    private PaddedInt _arrived;
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
        Progress = new StepProgress(count);
        bool pin = options.Pin && count <= TeamPinning.Cores.Length;
        _cores = [.. Enumerable.Range(0, count).Select(i => pin ? TeamPinning.Cores[(options.FirstCore + i) % TeamPinning.Cores.Length] : -1)];
        for (int i = 0; i < count; i++) _workers[i] = new Worker(this, i);
        _threads = [.. _workers.Skip(1).Select(StartThread)];
    }

    /// <summary>How many workers a team has unless told: one a physical core that the process may use.</summary>
    public static int DefaultThreads => TeamPinning.DefaultThreads;

    /// <summary>How many workers the team has.</summary>
    public int Count => _workers.Length;

    /// <summary>What is claimed where no step of a program is executed.</summary>
    internal StepProgress Progress { get; }

    /// <summary>For tests: what a worker does before it hands in results.</summary>
    internal Action<Worker>? BeforeHandingIn { get; set; }

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
                foreach (Worker worker in _workers) worker.Hand.Clear();
            _failure = null;
            _arrived.Value = 0;
            Progress.Clear();
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
        foreach (Worker worker in _workers) worker.Hand.FreeMemory();
    }

    internal WorkInHand HandOf(int worker) => _workers[worker].Hand;

    internal void Barrier(StepProgress progress)
    {
        // The turn is read before the failure: a failing worker sets the failure and then advances the turn,
        // so whoever misses the failure here is released by that advance.
        int turn = _barrier.Turn;
        ThrowIfFailed();
        if (Interlocked.Increment(ref _arrived.Value) == Count)
        {
            _arrived.Value = 0;
            progress.Clear();
            _barrier.Advance();
        }
        else _barrier.Await(turn);
        ThrowIfFailed();
    }

    /// <summary>Waits until all of a step is done, by whomever; until then idle work is done whenever there is any.</summary>
    internal void Await(StepProgress step, int run, IIdleWork idle)
    {
        while (true)
        {
            int turn = _progressed.Turn;
            ThrowIfFailed();
            if (step.IsComplete(run)) return;
            _progressed.Await(turn, idle);
        }
    }

    /// <summary>Says that so many more units of all are done of a step.</summary>
    internal void Complete(StepProgress step, int run, int units, int all)
    {
        if (step.Complete(run, units, all)) _progressed.Advance();
    }

    /// <summary>Says that a worker has done its part of a step that counts no units.</summary>
    internal void Arrive(StepProgress step, int run)
    {
        if (step.Arrive(run, Count)) _progressed.Advance();
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
            worker.Enter(Progress, run: 0);
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
            _progressed.Advance();
        }
    }

    internal void ThrowIfFailed()
    {
        if (Volatile.Read(ref _failure) is not null) throw new StoppedByPeerException();
    }

    /// <summary>Unwinds a worker whose peer has failed.</summary>
    private sealed class StoppedByPeerException : Exception;
}
