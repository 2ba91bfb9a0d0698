using System.Collections.Concurrent;

namespace Legato.Runtime.Cuda;

/// <summary>
/// Pieces that several threads take and give back, and have to themselves in between. A thread that wants to be alone waits until all are back, and
/// others wait for theirs until it is done; it may take some itself, as none can be held by who waits for it.
/// </summary>
internal sealed class SharedPieces<T> : IDisposable
{
    private readonly BlockingCollection<T> idle = [];
    // Read by who has a piece, written by who is alone.
    private readonly ReaderWriterLockSlim turns = new(LockRecursionPolicy.SupportsRecursion);

    public void Add(T piece) => idle.Add(piece);

    /// <summary>Waits for one; the same thread gives it back.</summary>
    public T Take()
    {
        turns.EnterReadLock();
        return idle.Take();
    }

    public void Give(T piece)
    {
        idle.Add(piece);
        turns.ExitReadLock();
    }

    /// <summary>Does work while no other thread has a piece.</summary>
    public TResult Alone<TResult>(Func<TResult> work)
    {
        turns.EnterWriteLock();
        try
        {
            return work();
        }
        finally
        {
            turns.ExitWriteLock();
        }
    }

    public void Dispose()
    {
        idle.Dispose();
        turns.Dispose();
    }
}
