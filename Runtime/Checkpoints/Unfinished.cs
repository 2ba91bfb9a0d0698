namespace Legato.Runtime.Checkpoints;

/// <summary>What has been begun on disk and is to be taken back if the process is told to end meanwhile.</summary>
public static class Unfinished
{
    private static readonly Lock Gate = new();
    private static readonly List<Entry> Entries = [];

    /// <summary>Keeps in mind how a piece of work is taken back, until what this gives is disposed.</summary>
    /// <param name="undo">Called from another thread while the work is under way; throws nothing.</param>
    public static IDisposable Register(Action undo) => Begin(() => { }, undo);

    /// <summary>The same for work that is begun here: it isn't begun once all is taken back.</summary>
    /// <param name="begin">Leaves nothing where it throws.</param>
    /// <param name="undo">As of <see cref="Register"/>.</param>
    public static IDisposable Begin(Action begin, Action undo)
    {
        var entry = new Entry(undo);
        lock (Gate)
        {
            begin();
            Entries.Add(entry);
        }
        return entry;
    }

    /// <summary>
    /// Takes back all that is unfinished, the last begun first, for a process that ends now: whatever begins or ends such
    /// work afterwards waits for that end.
    /// </summary>
    public static void TakeBack()
    {
        // Never left: else the work that has lost its files would go on, and complain of it.
        Gate.Enter();
        for (int i = Entries.Count - 1; i >= 0; i--)
            Entries[i].Undo();
    }

    private sealed class Entry(Action undo) : IDisposable
    {
        public Action Undo => undo;

        public void Dispose()
        {
            lock (Gate)
                Entries.Remove(this);
        }
    }
}
