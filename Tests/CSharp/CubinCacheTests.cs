using Legato.Runtime.Cuda;
using NUnit.Framework;

namespace Legato.Tests;

/// <summary>What spares a GPU's next start work: kept, found, and noticed where it is damaged.</summary>
[TestFixture]
[NonParallelizable]
public class CubinCacheTests
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
        Assert.That(CubinCache.IsEmpty);
        CubinCache.Keep("key", [1, 2, 3]);
        Assert.That(CubinCache.IsEmpty, Is.False);
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
    public void WhatCantBeKeptLeavesNothingBehind()
    {
        CubinCache.Keep("key", [1]);
        string file = Directory.GetFiles(CubinCache.Folder).Single();
        File.Delete(file);
        Directory.CreateDirectory(file);
        CubinCache.Keep("key", [2]);
        Assert.That(Directory.GetFiles(CubinCache.Folder), Is.Empty);
    }
}
