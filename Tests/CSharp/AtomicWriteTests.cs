using System.Diagnostics;
using Legato.Runtime;
using Legato.Runtime.Checkpoints;
using Legato.Runtime.Plans;
using NUnit.Framework;

namespace Legato.Tests;

/// <summary>What is written stands whole in its place, or nothing of it does.</summary>
public sealed class AtomicWriteTests
{
    private TemporaryFolder folder = null!;

    [SetUp]
    public void MakeFolder() => folder = new TemporaryFolder();

    [TearDown]
    public void RemoveFolder() => folder.Dispose();

    [Test]
    public void ACheckpointThatWasBeingReplacedGoesBack()
    {
        string checkpoints = Path.Combine(folder.File("replacing"), "checkpoints");
        foreach (string name in new[] { "replaced-7-step-000010", "replaced-7-step-000020", "7-step-000010" })
            Directory.CreateDirectory(Path.Combine(checkpoints, AtomicWrite.TemporaryPrefix + name));
        Directory.CreateDirectory(Path.Combine(checkpoints, "step-000020"));

        AtomicWrite.RemoveUnfinished(checkpoints);

        Assert.That(Directory.GetDirectories(checkpoints).Select(Path.GetFileName), Is.EquivalentTo(new[] { "step-000010", "step-000020" }));
    }

    [Test]
    public void AFolderThatIsTriedLeavesNothing()
    {
        AtomicWrite.TryFolder(folder.File("a/b/c"));
        Assert.That(Directory.Exists(folder.File("a")), Is.False);

        string kept = folder.File("kept");
        Directory.CreateDirectory(kept);
        AtomicWrite.TryFolder(Path.Combine(kept, "inner"));
        Assert.That(Directory.GetFileSystemEntries(kept), Is.Empty);

        string file = folder.File("file");
        File.WriteAllText(file, "text");
        LegatoException error = Assert.Throws<LegatoException>(() => AtomicWrite.TryFolder(Path.Combine(file, "below")))!;
        Assert.That(error.What, Does.Contain($"{file} is a file"));
        Assert.That(File.ReadAllText(file), Is.EqualTo("text"));
    }

    [Test]
    public void AFileThatAnotherHasWrittenMeanwhileStays()
    {
        string path = folder.File("model.gguf");
        LegatoException error = Assert.Throws<LegatoException>(() => AtomicWrite.NewFile(path, stream =>
        {
            stream.WriteByte(1);
            File.WriteAllText(path, "another's");
        }))!;
        Assert.That(error.What, Is.EqualTo("there is something already"));
        Assert.That(Directory.GetFileSystemEntries(folder.Path), Is.EqualTo(new[] { path }));
        Assert.That(File.ReadAllText(path), Is.EqualTo("another's"));
    }

    [Test]
    public void AFolderGoesThoughSomeoneStillWritesThere()
    {
        string path = folder.File("written");
        Directory.CreateDirectory(path);
        Task writing = Task.Run(() =>
        {
            long start = Stopwatch.GetTimestamp();
            for (int i = 0; Directory.Exists(path) && Stopwatch.GetElapsedTime(start).TotalMilliseconds < 15; i++)
                AtomicWrite.TryRemove(() => File.WriteAllText(Path.Combine(path, $"{i}"), ""));
        });
        SpinWait.SpinUntil(() => writing.IsCompleted || Directory.EnumerateFiles(path).Any());
        AtomicWrite.TryRemoveFolder(path);
        writing.Wait();
        Assert.That(Directory.Exists(path), Is.False);
    }

    [Test]
    public void AFileThatFailsInAFolderIsToldByItsPlace()
    {
        string path = folder.File("model");
        LegatoException error = Assert.Throws<LegatoException>(
            () => AtomicWrite.Folder(path, place => AtomicWrite.Text(Path.Combine(place, new string('n', 300)), "text")))!;
        Assert.That(error.Where, Does.StartWith(Path.Combine(path, "nnn")));
        Assert.That(Directory.GetFileSystemEntries(folder.Path), Is.Empty);
    }

    [Test]
    public void WhatOnlyStandsThereMeanwhileIsNeverNamed()
    {
        string Told(Exception hindrance) => Assert.Throws<LegatoException>(() => AtomicWrite.File(folder.File("latest"), stream => throw hindrance))!.Message;
        string partial = folder.File(AtomicWrite.TemporaryPrefix + "71-latest");
        Assert.That(Told(new IOException($"Read-only file system : '{partial}'", 30)), Does.Contain("can't write: Read-only file system\n").And.Not.Contain("partial"));
        Assert.That(Told(new FileNotFoundException($"Could not find file '{partial}'.")), Does.Contain("can't write: there is no such file\n").And.Not.Contain("partial"));
    }

    [Test]
    public void AFileInTheWayOfWhatIsBegunGoes()
    {
        string path = folder.File("model"), partial = folder.File($"{AtomicWrite.TemporaryPrefix}{Environment.ProcessId}-model");
        File.WriteAllText(partial, "of a process that was killed");
        AtomicWrite.Folder(path, place => File.WriteAllText(Path.Combine(place, "a"), "a"));
        Assert.That(Directory.GetFileSystemEntries(folder.Path), Is.EqualTo(new[] { path }));
    }

    [Test]
    public void AFolderWhereAFileStandsIsRefused()
    {
        string file = folder.File("file");
        File.WriteAllText(file, "text");
        LegatoException error = Assert.Throws<LegatoException>(() => AtomicWrite.Folder(file, place => File.WriteAllText(Path.Combine(place, "a"), "a")))!;
        Assert.That(error.What, Does.Contain($"{file} is a file"));
        Assert.That(File.ReadAllText(file), Is.EqualTo("text"));
        Assert.That(Directory.GetFileSystemEntries(folder.Path), Is.EqualTo(new[] { file }));
    }

    [Test]
    public void AFolderThatIsPutThereMeanwhileStays()
    {
        string path = folder.File("model"), other = Path.Combine(path, "theirs");
        LegatoException error = Assert.Throws<LegatoException>(() => AtomicWrite.NewFolder(path, place =>
        {
            File.WriteAllText(Path.Combine(place, "ours"), "ours");
            Directory.CreateDirectory(path);
            File.WriteAllText(other, "theirs");
        }))!;
        Assert.That(error.What, Does.Contain("there is something already"));
        Assert.That(Directory.GetFileSystemEntries(folder.Path, "*", SearchOption.AllDirectories), Is.EquivalentTo(new[] { path, other }));
    }

    [Test]
    public void AnEmptyFolderMakesWayForANewOne()
    {
        string path = folder.File("model");
        Directory.CreateDirectory(path);
        AtomicWrite.NewFolder(path, place => File.WriteAllText(Path.Combine(place, "ours"), "ours"));
        Assert.That(Directory.GetFileSystemEntries(path), Is.EqualTo(new[] { Path.Combine(path, "ours") }));
    }

    [Test]
    public void FilesThatFailInAFolderOfTheirOwnLeaveNeitherItNorItsParents()
    {
        Assert.That(
            () => AtomicWrite.Into(folder.File("a/b/c"), place =>
            {
                AtomicWrite.Text(Path.Combine(place, "first"), "text");
                throw new IOException("No space left on device", 28);
            }),
            Throws.TypeOf<LegatoException>().With.Message.Contains("the disk is full"));
        Assert.That(Directory.GetFileSystemEntries(folder.Path), Is.Empty);
    }

    [Test]
    public void PlansThatCannotAllBeSavedLeaveNoFolder()
    {
        var source = new BigramPlans(9);
        PlanRequest decode = new(Purpose.Decode, 2, 1, 16);
        IEnumerable<PlanRequest> Requests()
        {
            yield return decode;
            // Making plans takes a while, in which nothing half-made is to be seen.
            Assert.That(Directory.GetDirectories(folder.Path, AtomicWrite.TemporaryPrefix + "*"), Is.Empty);
            throw new LegatoException("no plan");
        }

        string path = folder.File("plans");
        Assert.That(() => SavedPlans.Save(path, source, Requests()), Throws.TypeOf<LegatoException>());
        Assert.That(Directory.GetFileSystemEntries(folder.Path), Is.Empty);

        // Plans that stood there before stay.
        SavedPlans.Save(path, source, decode);
        Assert.That(() => SavedPlans.Save(path, source, Requests()), Throws.TypeOf<LegatoException>());
        Assert.That(new SavedPlans(path).Plan(decode).Purpose, Is.EqualTo(Purpose.Decode));
    }
}
