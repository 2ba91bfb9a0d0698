using System.Diagnostics;

namespace Legato.Runtime;

/// <summary>
/// What a start spends its time on: moments since the process began, in order. LEGATO_DEBUG=4 prints each as it passes.
/// </summary>
public static class Timeline
{
    private static readonly Lock Gate = new();
    private static readonly List<Moment> Passed = [];

    /// <summary>All so far.</summary>
    public static IReadOnlyList<Moment> Moments
    {
        get
        {
            lock (Gate)
                return [.. Passed];
        }
    }

    /// <summary>Something is done.</summary>
    public static void Mark(string done)
    {
        var moment = new Moment(done, (DateTime.Now - Process.GetCurrentProcess().StartTime).TotalSeconds);
        lock (Gate)
            Passed.Add(moment);
        if (DebugLevel.ShowsTimes)
            Console.Error.WriteLine(FormattableString.Invariant($"{moment.Seconds,8:F3} s  {moment.Done}"));
    }

    /// <param name="Done">What was done then.</param>
    /// <param name="Seconds">Since the process began.</param>
    public readonly record struct Moment(string Done, double Seconds);
}
