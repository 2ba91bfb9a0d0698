using Legato.Runtime;
using Legato.Runtime.Cuda;
using Legato.Runtime.Devices;
using Legato.Runtime.Plans;
using NUnit.Framework;

namespace Legato.Tests;

/// <summary>What a user is told where a GPU can't be used: what is wrong, and what to do.</summary>
[TestFixture]
public class CudaMistakeTests
{
    private static readonly CudaGpu Turing = new(0, "RTX 2080", 75, 46, 8L << 30, 448e9, 64 << 10);

    private static readonly CudaGpu Small = new(0, "a small GPU", 86, 28, 1L << 20, 3e11, 99 << 10);

    [Test]
    public void ADriverThatIsTooOld() => Says(() => CudaMachine.RequireDriver(11080), "CUDA 11.8", "12.0 or newer", "install NVIDIA's driver");

    [Test]
    public void ADriverThatFindsNoGpu() => Says(() => CudaMachine.Choose([], 0), "finds no GPU", "--device cpu", "CUDA_VISIBLE_DEVICES");

    [Test]
    public void AnIndexBeyondTheGpus() => Says(() => CudaMachine.Choose([Small, Turing], 5), "no GPU 5", "choose 0 to 1", "RTX 2080");

    [Test]
    public void AGpuThatIsTooOld() => Says(() => CudaDevice.OnPaper(Turing), "RTX 2080", "7.5", "8.0 or newer", "Ampere");

    [Test]
    public void ALibraryThatIsNowhere() => Says(
        () => CudaLibraries.Require(new CudaLibrary("none", ["libnone-of-nvidia.so.1"], "install the toolkit")), "libnone-of-nvidia.so.1", "searched", "install the toolkit");

    [Test]
    public void ALibraryThatIsNewerThanTheDriverIsPassedOver()
    {
        RequireCompiler();
        int major = int.Parse(Nvrtc.Version().Split('.')[0], null);
        Assert.That(CudaLibraries.Search(CudaLibrary.Compiler, () => major)?.Path, Is.EqualTo(CudaLibraries.Find(CudaLibrary.Compiler)));
        Assert.That(CudaLibraries.Search(CudaLibrary.Compiler, () => null)?.Path, Is.EqualTo(CudaLibraries.Find(CudaLibrary.Compiler)));
        Assert.That(CudaLibraries.Search(CudaLibrary.Compiler, () => 11), Is.Null);
    }

    [Test]
    public void AGpuThatTheCompilerDoesNotKnow()
    {
        RequireCompiler();
        CudaCompiler.RequireTarget(Small);
        Says(() => CudaCompiler.RequireTarget(Small with { Name = "a GPU to come", Architecture = 999 }), "NVRTC", "a GPU to come", "99.9", "newer CUDA toolkit");
    }

    [Test]
    public void BytesBeyondAMemory()
    {
        using CudaDevice device = CudaDevice.OnPaper(Small);
        using IDeviceMemory memory = device.Allocate(16);
        foreach (long offset in new[] { -1, 9, 17, long.MaxValue })
            Assert.That(() => memory.Write(offset, new byte[8]), Throws.TypeOf<ArgumentOutOfRangeException>(), $"{offset}");
    }

    [Test]
    public void AnAlgorithmThatWasNotMeasuredIsNotKept()
    {
        Assert.That(ProductChoice.Of(new ProductChoice(default(ProductAlgorithm), 1e-3).ToBytes())?.Seconds, Is.EqualTo(1e-3));
        Assert.That(ProductChoice.Of(new ProductChoice(null, 1e-3).ToBytes())?.Seconds, Is.EqualTo(1e-3));
        foreach (double unmeasured in new[] { double.NaN, double.PositiveInfinity })
            Assert.That(ProductChoice.Of(new ProductChoice(default(ProductAlgorithm), unmeasured).ToBytes()), Is.Null);
    }

    [Test]
    public void APlanThatHasNoRoom()
    {
        PlanFixture fixture = new PlanFixture().Zeros("large", 1 << 20).Zeros("small", 8);
        using CudaDevice device = CudaDevice.OnPaper(Small);
        Says(() => device.Compile(fixture.Plan(), new Dictionary<string, IDeviceMemory>()), "4194", "are free", "large", "smaller batch", "nvidia-smi");
    }

    [Test]
    public void WhatAPlanTakesIsToldThoughItHasNoRoom()
    {
        PlanFixture fixture = new PlanFixture().Zeros("large", 1 << 20);
        using CudaDevice device = CudaDevice.OnPaper(Small);
        Assert.That(device.WorkingBytes(fixture.Plan()), Is.Zero);
    }

    [Test]
    public void MoreSequencesThanALaunchTakes()
    {
        const int batch = 65_536;
        PlanFixture fixture = new PlanFixture().Zeros("q", batch).Zeros("k", batch).Zeros("v", batch).Zeros("o", batch);
        HeadTensor Of(string name) => new(fixture.View(name), 1, 1, 1);
        Plan plan = fixture.Plan(new Step.Attention(
            "attention", Cost.Zero, new AttentionShape(batch, 1, 1, 1, 1, 1, 1, 1, null, null), Of("q"), Of("k"), Of("v"), Of("o"), null, null, []));
        using CudaDevice device = CudaDevice.OnPaper(Small with { MemoryBytes = 1L << 30 });
        using IExecutable executable = device.Compile(plan, new Dictionary<string, IDeviceMemory>());
        Says(executable.Run, "no GPU takes", "65536 blocks", "attention", "smaller batch");
    }

    [Test]
    public void MemoryThatAnotherProcessHolds()
    {
        using CudaDevice device = CudaDevice.OnPaper(Small);
        Says(() => throw CudaError.OutOfMemory(1 << 30, 1 << 10, device), "1073741824 bytes", "1024 are free", "nvidia-smi");
        Says(() => CublasLt.Check(3, "starting"), "no memory", "smaller batch", "nvidia-smi");
        Says(() => CublasLt.Check(7, "starting"), "status 7", "legato doctor");
    }

    private static void RequireCompiler()
    {
        if (CudaLibraries.Find(CudaLibrary.Compiler) is null)
            Assert.Ignore("this machine has no NVRTC");
    }

    private static void Says(Action work, params string[] parts)
    {
        LegatoException mistake = Assert.Catch<LegatoException>(() => work())!;
        Assert.That(mistake.Remedy, Is.Not.Null.And.Not.Empty);
        foreach (string part in parts)
            Assert.That(mistake.Message, Does.Contain(part));
    }
}
