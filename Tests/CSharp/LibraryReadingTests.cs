using System.Runtime.InteropServices;
using Legato.Runtime.Cuda;
using Microsoft.Win32.SafeHandles;
using NUnit.Framework;

namespace Legato.Tests;

[TestFixture]
public partial class LibraryReadingTests
{
    private const int DontNeed = 4, ReadOnly = 1, Shared = 1;
    private string folder = "";

    [SetUp]
    public void MakeAFolder() => folder = Directory.CreateTempSubdirectory("legato-reading-").FullName;

    [TearDown]
    public void RemoveIt() => Directory.Delete(folder, recursive: true);

    [Test]
    public void WhatIsReadLiesInMemory()
    {
        if (!OperatingSystem.IsLinux())
            Assert.Ignore("told by Linux");
        string file = Write("library", (9 << 20) + 5), link = Path.Combine(folder, "link");
        File.CreateSymbolicLink(link, file);
        Evict(file);
        if (PagesInMemory(file) > 0)
            Assert.Ignore("this file system keeps its files in memory");
        Assert.That(LibraryReading.Begin([Path.Combine(folder, "none"), folder, link]).Wait(TimeSpan.FromSeconds(20)));
        Assert.That(PagesInMemory(file), Is.EqualTo(((9 << 20) + 5 + Environment.SystemPageSize - 1) / Environment.SystemPageSize));
    }

    [Test]
    public void TheFilesAreThoseThatAreLoaded()
    {
        if (CudaLibraries.Find(CudaLibrary.Compiler) is not { } compiler)
        {
            Assert.Ignore("this machine has no NVRTC");
            return;
        }
        string[] ahead = [.. CudaLibraries.FilesAhead().Select(Path.GetFileName).OfType<string>()];
        Assert.That(ahead, Does.Contain(Path.GetFileName(compiler)));
        Assert.That(ahead, Has.Some.Contains("nvrtc-builtins"));
    }

    private string Write(string name, int bytes)
    {
        string file = Path.Combine(folder, name);
        using FileStream stream = File.Create(file);
        stream.Write(new byte[bytes]);
        stream.Flush(flushToDisk: true);
        return file;
    }

    private static void Evict(string file)
    {
        using SafeFileHandle handle = File.OpenHandle(file);
        _ = Advise(handle, 0, 0, DontNeed);
    }

    private static int PagesInMemory(string file)
    {
        nuint bytes = (nuint)new FileInfo(file).Length;
        using SafeFileHandle handle = File.OpenHandle(file);
        nint address = Map(0, bytes, ReadOnly, Shared, handle, 0);
        byte[] pages = new byte[(bytes + (nuint)Environment.SystemPageSize - 1) / (nuint)Environment.SystemPageSize];
        Assert.That(InMemory(address, bytes, pages), Is.Zero);
        _ = Unmap(address, bytes);
        return pages.Count(page => (page & 1) == 1);
    }

    [LibraryImport("libc", EntryPoint = "posix_fadvise")]
    private static partial int Advise(SafeFileHandle file, long start, long bytes, int advice);

    [LibraryImport("libc", EntryPoint = "mmap")]
    private static partial nint Map(nint address, nuint bytes, int protection, int flags, SafeFileHandle file, long start);

    [LibraryImport("libc", EntryPoint = "munmap")]
    private static partial int Unmap(nint address, nuint bytes);

    [LibraryImport("libc", EntryPoint = "mincore")]
    private static partial int InMemory(nint address, nuint bytes, byte[] pages);
}
