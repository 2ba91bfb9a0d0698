namespace Legato.Runtime.Cuda;

/// <summary>
/// Texts that work is done on in the background, on as many threads of their own as there are processors: the longest first, which most likely
/// takes longest. What goes wrong with one is left to who asks for it. Safe for several threads.
/// </summary>
internal sealed class LongestFirst(Action<string> work) : IDisposable
{
    private readonly object gate = new();
    private readonly PriorityQueue<(string Text, CancellationToken Withdrawn), int> waiting = new();
    private int working, underWay, held;
    private bool disposed;

    /// <summary>Has texts worked on, beside and among those that wait already.</summary>
    /// <param name="withdrawn">From then on those that still wait are left out.</param>
    public void Begin(IEnumerable<string> texts, CancellationToken withdrawn = default)
    {
        lock (gate)
        {
            if (disposed)
                return;
            foreach (string text in texts)
                waiting.Enqueue((text, withdrawn), -text.Length);
            for (int more = Math.Min(waiting.Count, Environment.ProcessorCount - working); more > 0; more--)
            {
                working++;
                _ = Task.Factory.StartNew(Work, CancellationToken.None, TaskCreationOptions.LongRunning, TaskScheduler.Default);
            }
        }
    }

    /// <summary>Waits until nothing is left to do.</summary>
    public void Finish()
    {
        lock (gate)
            while (working > 0)
                _ = Monitor.Wait(gate);
    }

    /// <summary>Waits until nothing is left to do, and has nothing begun while other work is done.</summary>
    public T Alone<T>(Func<T> other)
    {
        lock (gate)
        {
            while (underWay > 0 || waiting.Count > 0 && held == 0)
                _ = Monitor.Wait(gate);
            held++;
        }
        try
        {
            return other();
        }
        finally
        {
            lock (gate)
            {
                held--;
                Monitor.PulseAll(gate);
            }
        }
    }

    /// <summary>Gives up what waits, and waits for what is under way.</summary>
    public void Dispose()
    {
        lock (gate)
        {
            disposed = true;
            waiting.Clear();
            Monitor.PulseAll(gate);
        }
        Finish();
    }

    private void Work()
    {
        while (Next() is { } text)
        {
            try
            {
                work(text);
            }
            catch (Exception)
            {
                // It will be told to who asks for it.
            }
            finally
            {
                lock (gate)
                {
                    underWay--;
                    Monitor.PulseAll(gate);
                }
            }
        }
    }

    private string? Next()
    {
        lock (gate)
        {
            while (held > 0 && waiting.Count > 0)
                _ = Monitor.Wait(gate);
            while (waiting.TryDequeue(out (string Text, CancellationToken Withdrawn) next, out _))
                if (!next.Withdrawn.IsCancellationRequested)
                {
                    underWay++;
                    return next.Text;
                }
            working--;
            Monitor.PulseAll(gate);
            return null;
        }
    }
}
