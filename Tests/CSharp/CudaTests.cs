using Legato.Runtime;
using Legato.Runtime.Cuda;
using NUnit.Framework;

namespace Legato.Tests;

/// <summary>What CUDA's device promises beside the suite that all devices share.</summary>
[TestFixture]
[NonParallelizable]
public class CudaTests
{
    private string? previous;
    private string folder = "";

    [SetUp]
    public void UseAnEmptyCache()
    {
        previous = Environment.GetEnvironmentVariable(CubinCache.Variable);
        folder = Path.Combine(Path.GetTempPath(), "legato-cache-" + Guid.NewGuid().ToString("N"));
        Environment.SetEnvironmentVariable(CubinCache.Variable, folder);
    }

    [TearDown]
    public void Restore()
    {
        Environment.SetEnvironmentVariable(CubinCache.Variable, previous);
        if (Directory.Exists(folder))
            Directory.Delete(folder, recursive: true);
    }

    [Test]
    public void WhatIsKeptIsFoundAndWhatIsDamagedIsNot()
    {
        Assert.That(CubinCache.Find("key"), Is.Null);
        CubinCache.Keep("key", [1, 2, 3]);
        Assert.That(CubinCache.Find("key"), Is.EqualTo(new byte[] { 1, 2, 3 }));
        Assert.That(CubinCache.Find("another"), Is.Null);
        string file = Directory.GetFiles(CubinCache.Folder).Single();
        byte[] bytes = File.ReadAllBytes(file);
        bytes[^1] ^= 1;
        File.WriteAllBytes(file, bytes);
        Assert.That(CubinCache.Find("key"), Is.Null);
        File.WriteAllBytes(file, []);
        Assert.That(CubinCache.Find("key"), Is.Null);
        CubinCache.Keep("key", [4]);
        Assert.That(CubinCache.Find("key"), Is.EqualTo(new byte[] { 4 }));
    }

    [Test]
    public void WithoutAGpuTheMessageSaysWhatToDo()
    {
        if (CudaMachine.IsUsable)
            Assert.Ignore("this machine has a GPU");
        LegatoException? mistake = Assert.Throws<LegatoException>(() => new CudaDevice());
        Assert.That(mistake!.Remedy, Is.Not.Null.And.Not.Empty);
    }

    [Test]
    public void AGpuThatIsNotThereIsNamed()
    {
        if (!CudaMachine.IsUsable)
            Assert.Ignore("this machine has no GPU that CUDA can use");
        LegatoException? mistake = Assert.Throws<LegatoException>(() => new CudaDevice(new CudaDeviceOptions(Index: 99)));
        Assert.That(mistake!.Message, Does.Contain("no GPU 99").And.Contain("choose 0"));
    }

    [Test]
    public void MemoryBeyondTheGpusIsRefused()
    {
        if (!CudaMachine.IsUsable)
            Assert.Ignore("this machine has no GPU that CUDA can use");
        using var device = new CudaDevice();
        LegatoException? mistake = Assert.Throws<LegatoException>(() => device.Allocate(1L << 45));
        Assert.That(mistake!.Message, Does.Contain("are free").And.Contain("nvidia-smi"));
        Assert.That(device.BytesAllocated, Is.Zero);
    }
}
