using System.Diagnostics;

namespace Legato.Runtime;

/// <summary>
/// What a start spends its time on: moments since the process began, in order, until the start is over. LEGATO_DEBUG=4 prints each as
/// it passes, later ones too, with the time that all threads have computed by then: where less passes than a clock's, they wait.
/// </summary>
public static class Timeline
{
    private static readonly Lock Gate = new();
    private static readonly List<Moment> Passed = [];
    // The one reading of the wall clock, which can be set.
    private static readonly double Before = (DateTime.Now - Process.GetCurrentProcess().StartTime).TotalSeconds;
    private static readonly long Entered = Stopwatch.GetTimestamp();
    private static bool isOver;

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
    /// <param name="endsStart">Whether the start is over with it: what a long life does after it isn't kept.</param>
    public static void Mark(string done, bool endsStart = false)
    {
        var moment = new Moment(done, Before + Stopwatch.GetElapsedTime(Entered).TotalSeconds);
        lock (Gate)
        {
            if (!isOver)
                Passed.Add(moment);
            isOver |= endsStart;
        }
        if (DebugLevel.ShowsTimes)
            Console.Error.WriteLine(FormattableString.Invariant($"{moment.Seconds,8:F3} s  {Environment.CpuUsage.TotalTime.TotalSeconds,7:F2} s computed  {moment.Done}"));
    }

    /// <param name="Done">What was done then.</param>
    /// <param name="Seconds">Since the process began.</param>
    public readonly record struct Moment(string Done, double Seconds);
}
