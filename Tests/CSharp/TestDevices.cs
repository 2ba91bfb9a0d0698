using Legato.Runtime.Cpu;
using Legato.Runtime.Cuda;
using Legato.Runtime.Devices;
using Legato.Runtime.Interpreter;
using NUnit.Framework;

namespace Legato.Tests;

/// <summary>The devices that share a suite, by name. One that this machine lacks skips the test, visibly.</summary>
internal static class TestDevices
{
    public static readonly string[] All = ["interpreter", "cpu", "cuda"];

    /// <summary>Those that are compared with the interpreter.</summary>
    public static readonly string[] Compared = ["cpu", "cuda"];

    public static IDevice Open(string name) => name switch
    {
        "interpreter" => new InterpreterDevice(),
        "cpu" => new CpuDevice(new CpuDeviceOptions(2, Pin: false)),
        "cpu portable" => new CpuDevice(new CpuDeviceOptions(2, Pin: false), Supported(CpuIsa.Portable)),
        "cpu avx2" => new CpuDevice(new CpuDeviceOptions(2, Pin: false), Supported(CpuIsa.Avx2)),
        "cpu avx512" => new CpuDevice(new CpuDeviceOptions(2, Pin: false), Supported(CpuIsa.Avx512)),
        "cuda" => Cuda(),
        _ => throw new ArgumentOutOfRangeException(nameof(name), name, "no known device"),
    };

    private static CpuIsa Supported(CpuIsa isa)
    {
        if (!CpuIsaChoice.Supports(isa))
            Assert.Ignore($"this machine has no {isa}");
        return isa;
    }

    private static CudaDevice Cuda()
    {
        if (!CudaMachine.IsUsable)
            Assert.Ignore("this machine has no GPU that CUDA can use");
        return new CudaDevice();
    }
}
