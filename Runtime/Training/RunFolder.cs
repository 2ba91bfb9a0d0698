using System.Globalization;
using Legato.Runtime.Checkpoints;

namespace Legato.Runtime.Training;

/// <summary>
/// A training run's folder: <c>metrics.jsonl</c>, <c>report.html</c>, <c>checkpoints/step-000200</c> and so on, and
/// <c>latest</c>, a file with the name of the checkpoint to go on from.
/// </summary>
public sealed class RunFolder
{
    private const string StepPrefix = "step-";

    private RunFolder(string path) => Path = path;

    public string Path { get; }

    public string MetricsFile => System.IO.Path.Combine(Path, "metrics.jsonl");

    public string ReportFile => System.IO.Path.Combine(Path, "report.html");

    private string CheckpointsFolder => System.IO.Path.Combine(Path, "checkpoints");

    /// <summary>Holds the name of the checkpoint to go on from.</summary>
    public string LatestFile => System.IO.Path.Combine(Path, "latest");

    private string LockFile => System.IO.Path.Combine(Path, "lock");

    /// <summary>
    /// Makes a folder for a new run, or takes that of one that was killed before its first step, and keeps it to this process until
    /// <paramref name="held"/> is disposed: of two that want it at once, one has it.
    /// </summary>
    /// <param name="others">Names of what else a run has in its folder from before its first step on.</param>
    /// <exception cref="LegatoException">It can't be written, holds something else, or another process has it.</exception>
    public static RunFolder Create(string path, IReadOnlyList<string> others, out IDisposable held)
    {
        var run = new RunFolder(path);
        run.RequireNew(others);
        AtomicWrite.MakeFolder(path);
        held = run.Lock();
        _ = run.Begin(held, () =>
        {
            run.RequireNew(others);
            run.Withdraw(others);
            return true;
        });
        return run;
    }

    /// <summary>As <see cref="Create"/>, but null where something stands there, be it that another process puts it there just now.</summary>
    /// <exception cref="LegatoException">It can't be written.</exception>
    public static RunFolder? CreateIfFree(string path, out IDisposable? held)
    {
        var run = new RunFolder(path);
        held = null;
        if (System.IO.Path.Exists(path))
            return null;
        AtomicWrite.MakeFolder(path);
        held = run.TryLock();
        // Whoever has had it meanwhile leaves a run there.
        return held is not null && run.Begin(held, () => Directory.EnumerateFileSystemEntries(path).All(entry => entry == run.LockFile))
            ? run
            : null;
    }

    // Under its lock, which goes where the run doesn't begin.
    private bool Begin(IDisposable held, Func<bool> isFree)
    {
        bool begun = false;
        try
        {
            if (isFree())
            {
                AtomicWrite.MakeFolder(CheckpointsFolder);
                begun = true;
            }
        }
        finally
        {
            if (!begun)
                held.Dispose();
        }
        return begun;
    }

    /// <summary>Whether the run has taken a step, of which its metrics or a checkpoint tell.</summary>
    public bool HasBegun =>
        File.Exists(MetricsFile) && new FileInfo(MetricsFile).Length > 0
        || Directory.Exists(CheckpointsFolder) && Directory.EnumerateFileSystemEntries(CheckpointsFolder).Any(entry => !IsUnfinished(entry));

    /// <summary>Removes what a run that hasn't begun has made, and nothing else that lies in its folder. The caller holds the run's lock.</summary>
    public void Withdraw(IReadOnlyList<string> others)
    {
        foreach (string file in others.Select(name => System.IO.Path.Combine(Path, name)).Append(MetricsFile))
            AtomicWrite.TryRemove(() => File.Delete(file));
        AtomicWrite.TryRemove(() => Directory.Delete(CheckpointsFolder));
    }

    private static bool IsUnfinished(string entry) =>
        System.IO.Path.GetFileName(entry).StartsWith(AtomicWrite.TemporaryPrefix, StringComparison.Ordinal);

    private void RequireNew(IReadOnlyList<string> others)
    {
        RequireCheckpointsKept();
        bool isRun = Directory.Exists(CheckpointsFolder);
        if (isRun && HasBegun)
            throw Latest is not null
                ? new LegatoException("the folder holds a training run already", Path, "go on with it by --resume, or choose another folder")
                : new LegatoException(
                    "the folder holds a training run already, which has no checkpoint yet", Path, "choose another folder, or remove this one if the run has ended");
        // A run writes over what bears its files' names; another that wants the folder too may have it locked.
        bool IsOfRun(string entry) =>
            entry == LockFile
            || isRun && (entry == CheckpointsFolder || entry == MetricsFile || IsUnfinished(entry) || others.Contains(System.IO.Path.GetFileName(entry)));
        if (Directory.Exists(Path) && !Directory.EnumerateFileSystemEntries(Path).All(IsOfRun))
            throw new LegatoException("the folder isn't empty, and what it holds is no training run", Path, "choose a folder that is empty, or not there yet");
    }

    /// <summary>Opens the folder of a run that has been started.</summary>
    /// <exception cref="LegatoException">There is no run in it, or its checkpoints are gone.</exception>
    public static RunFolder Open(string path)
    {
        var run = new RunFolder(path);
        run.RequireCheckpointsKept();
        return Directory.Exists(run.CheckpointsFolder)
            ? run
            : throw new LegatoException("there is no training run in this folder", path, "give the folder that `legato train` wrote to");
    }

    // Of a checkpoint that was written the file with its name tells; others' folders may have a file of that name too, but no metrics.
    private void RequireCheckpointsKept()
    {
        if (File.Exists(LatestFile) && File.Exists(MetricsFile) && (!Directory.Exists(CheckpointsFolder) || Steps().Length == 0))
            throw new LegatoException("the run's checkpoints are gone, and nothing to go on from is left", Path, "start it anew in another folder, or remove this one");
    }

    /// <summary>Keeps the run to this process until it is disposed.</summary>
    /// <exception cref="LegatoException">Another process has it, or the folder can't be written.</exception>
    public IDisposable Lock() =>
        TryLock() ?? throw new LegatoException(
            "another process is working on the run in this folder", Path, "wait until the other run in it has ended, or choose another folder");

    // Null: another process has it.
    private FileStream? TryLock()
    {
        try
        {
            var held = new FileStream(
                LockFile, FileMode.OpenOrCreate, FileAccess.ReadWrite, FileShare.None, 1, FileOptions.DeleteOnClose);
            if (Directory.Exists(CheckpointsFolder))
                AtomicWrite.RemoveUnfinished(CheckpointsFolder);
            foreach (string file in new[] { LatestFile, MetricsFile, ReportFile })
                AtomicWrite.RemoveUnfinishedFile(file);
            return held;
        }
        catch (IOException e) when (FileHindrance.IsHeld(e))
        {
            return null;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new LegatoException(
                $"the run's folder can't be kept to this run: {FileHindrance.Of(e)}", Path, "choose a folder that you may write to", e);
        }
    }

    /// <summary>Where the checkpoint of a step stands.</summary>
    public string Checkpoint(long step) =>
        System.IO.Path.Combine(CheckpointsFolder, StepPrefix + step.ToString("D6", CultureInfo.InvariantCulture));

    /// <summary>The checkpoint to go on from.</summary>
    /// <exception cref="LegatoException">There is none yet.</exception>
    public string RequireLatest() =>
        Latest ?? throw new LegatoException(
            "the run has no checkpoint yet", Path,
            HasBegun ? "start it anew in another folder, or remove this one" : "it has taken no step: start it anew, without --resume");

    /// <summary>The checkpoint to go on from, or null before the first.</summary>
    public string? Latest
    {
        get
        {
            if (File.Exists(LatestFile))
            {
                string name = System.IO.Path.GetFileName(File.ReadAllText(LatestFile).Trim()), named = System.IO.Path.Combine(CheckpointsFolder, name);
                if (name.StartsWith(StepPrefix, StringComparison.Ordinal) && Directory.Exists(named))
                    return named;
            }
            return Steps() is { Length: > 0 } steps ? Checkpoint(steps[^1]) : null;
        }
    }

    /// <summary>
    /// Writes a checkpoint through <paramref name="write"/>, points <c>latest</c> at it, then removes all but the newest
    /// <paramref name="keep"/> (0 keeps all). Until the new one is whole, nothing else changes.
    /// </summary>
    /// <exception cref="LegatoException">It can't be written.</exception>
    public string WriteCheckpoint(long step, int keep, Action<string> write)
    {
        string folder = Checkpoint(step);
        AtomicWrite.Folder(folder, write);
        AtomicWrite.Text(LatestFile, System.IO.Path.GetFileName(folder) + "\n");
        if (keep > 0)
            foreach (long old in Steps()[..^Math.Min(keep, Steps().Length)])
                if (old < step)
                    RemoveCheckpoint(Checkpoint(old));
        return folder;
    }

    /// <summary>The newest checkpoint before <see cref="Latest"/> that can be gone on from, or null: its files are there, and as long as they say.</summary>
    public string? WholeBeforeLatest() =>
        Latest is { } latest
            ? Steps().Select(Checkpoint).TakeWhile(folder => folder != latest).LastOrDefault(TrainingCheckpoint.IsWhole)
            : null;

    /// <summary>Whether a mistake's place is the folder of <see cref="Latest"/>, or lies in it.</summary>
    public bool IsInLatest(string? place)
    {
        if (Latest is not { } latest || string.IsNullOrEmpty(place))
            return false;
        string folder = System.IO.Path.GetFullPath(latest), full = System.IO.Path.GetFullPath(place);
        return full == folder || full.StartsWith(folder + System.IO.Path.DirectorySeparatorChar, StringComparison.Ordinal);
    }

    /// <summary>Whether <see cref="Latest"/> is a checkpoint that can be gone on from.</summary>
    public bool IsLatestWhole => Latest is { } latest && TrainingCheckpoint.IsWhole(latest);

    private long[] Steps()
    {
        var steps = new List<long>();
        foreach (string folder in Directory.GetDirectories(CheckpointsFolder, StepPrefix + "*"))
            if (long.TryParse(System.IO.Path.GetFileName(folder).AsSpan(StepPrefix.Length), NumberStyles.None, CultureInfo.InvariantCulture, out long step))
                steps.Add(step);
        steps.Sort();
        return [.. steps];
    }

    private static void RemoveCheckpoint(string folder)
    {
        try
        {
            Directory.Delete(folder, recursive: true);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new LegatoException($"can't remove an old checkpoint: {FileHindrance.Of(e)}", folder, "remove it by hand; the newest checkpoint is whole", e);
        }
    }
}
