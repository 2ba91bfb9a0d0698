namespace Legato.Runtime.Cuda;

/// <summary>
/// Work that is done in the background, one piece after another. Nothing is done after a mistake, until it has been told to who waits or forgotten.
/// Safe for several threads.
/// </summary>
internal sealed class BackgroundWork
{
    private readonly Lock gate = new();
    private volatile Task last = Task.CompletedTask;
    private volatile bool ended;

    /// <summary>Has a piece done after those that were begun before, unless work has ended by then.</summary>
    public void Begin(Action work)
    {
        lock (gate)
            if (!ended)
                last = Follow(last, work);
    }

    /// <summary>Waits until all is done; throws what went wrong, and work may begin anew.</summary>
    public void Finish()
    {
        Task begun = last;
        try
        {
            begun.GetAwaiter().GetResult();
        }
        catch
        {
            Renew(begun);
            throw;
        }
    }

    /// <summary>The same for what is about to be given up, whether or not that went well.</summary>
    public void Abandon()
    {
        Task begun = last;
        begun.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing).GetAwaiter().GetResult();
        Renew(begun);
    }

    /// <summary>Waits for the piece under way. None that waits is done, and none is begun any more.</summary>
    public void End()
    {
        lock (gate)
            ended = true;
        Abandon();
    }

    private async Task Follow(Task before, Action work)
    {
        await before.ConfigureAwait(ConfigureAwaitOptions.ForceYielding);
        if (!ended)
            work();
    }

    private void Renew(Task begun)
    {
        lock (gate)
            if (last == begun)
                last = Task.CompletedTask;
    }
}
