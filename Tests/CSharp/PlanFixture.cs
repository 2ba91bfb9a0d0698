using System.Runtime.InteropServices;
using Legato.Runtime.Devices;
using Legato.Runtime.Plans;

namespace Legato.Tests;

/// <summary>A tensor that a test gives to a plan, or expects of it.</summary>
/// <param name="Data">Made when it is wanted: many tests are skipped where there is no GPU.</param>
internal sealed record TestTensor(string Name, ScalarType Type, Extent Elements, Lazy<byte[]> Data, BufferClass Class = BufferClass.Activation);

/// <summary>Plans of a few steps over named tensors, run on any device.</summary>
internal sealed class PlanFixture
{
    private readonly List<TestTensor> tensors = [];
    private readonly List<DynamicDimension> dimensions = [];

    public PlanFixture Dimension(string name, long maximum)
    {
        dimensions.Add(new DynamicDimension(name, 0, maximum));
        return this;
    }

    /// <summary>Normally distributed floats, or integers below <paramref name="below"/>.</summary>
    public PlanFixture Random(string name, Extent elements, ScalarType type = ScalarType.F32, int below = 10, int seed = 1, BufferClass kind = BufferClass.Activation)
    {
        long count = Maximum(elements);
        return Add(name, elements, type, kind, () =>
        {
            var random = new Random(seed + name.Sum(c => c));
            var values = new double[count];
            for (long i = 0; i < count; i++)
                values[i] = type == ScalarType.I32 ? random.Next(below) : Math.Sqrt(-2 * Math.Log(1 - random.NextDouble())) * Math.Cos(2 * Math.PI * random.NextDouble());
            return Encode(type, values);
        });
    }

    public PlanFixture Given(string name, Extent elements, ScalarType type, double[] values, BufferClass kind = BufferClass.Activation) =>
        Add(name, elements, type, kind, () => Encode(type, values));

    public PlanFixture Zeros(string name, Extent elements, ScalarType type = ScalarType.F32)
    {
        long bytes = Maximum(elements) * type.Size();
        return Add(name, elements, type, BufferClass.Activation, () => new byte[bytes]);
    }

    public BufferView View(string name) => BufferView.Whole(Id(name));

    public int Id(string name) => tensors.FindIndex(t => t.Name == name);

    /// <summary>A step that runs a kernel over all tensors in order.</summary>
    public Step Fused(Kernel kernel) =>
        new Step.Fused("fused", Cost.Zero, kernel, [.. kernel.Operands.Select(o => View(o.Name))]);

    public Plan Plan(params Step[] steps)
    {
        var buffers = new List<PlanBuffer>();
        long offset = 0;
        foreach (TestTensor tensor in tensors)
        {
            buffers.Add(new PlanBuffer(buffers.Count, tensor.Name, tensor.Class, tensor.Type, [new PlanAxis("n", tensor.Elements)], offset, 0, 0));
            offset += (Maximum(tensor.Elements) * tensor.Type.Size() + 63) / 64 * 64;
        }
        return new Plan("test", Purpose.Forward, "fp32", dimensions, buffers, [], [], steps, offset);
    }

    /// <summary>Runs a plan and returns every tensor afterwards, by name.</summary>
    public Dictionary<string, double[]> Run(IDevice device, Plan plan, params (string Dimension, long Value)[] bindings)
    {
        using IExecutable executable = Load(device, plan);
        foreach ((string dimension, long value) in bindings)
            executable.Bind(dimension, value);
        executable.Run();
        return tensors.ToDictionary(t => t.Name, t => Read(executable, t.Name));
    }

    /// <summary>The plan on a device with the tensors' values in place.</summary>
    public IExecutable Load(IDevice device, Plan plan)
    {
        var persistent = new Dictionary<string, IDeviceMemory>();
        foreach (PlanBuffer buffer in plan.Buffers.Where(b => b.IsPersistent))
            persistent[buffer.Name] = device.Allocate(plan.Maximum(buffer.Bytes));
        IExecutable executable = device.Compile(plan, persistent);
        foreach (TestTensor tensor in tensors)
            executable.Memory(plan.Buffers[Id(tensor.Name)]).Write(0, tensor.Data.Value);
        return executable;
    }

    public double[] Read(IExecutable executable, string name)
    {
        TestTensor tensor = tensors[Id(name)];
        var data = new byte[tensor.Data.Value.Length];
        executable.Memory(executable.Plan.Buffers[Id(name)]).Read(0, data);
        return Decode(tensor.Type, data);
    }

    private PlanFixture Add(string name, Extent elements, ScalarType type, BufferClass kind, Func<byte[]> data)
    {
        tensors.Add(new TestTensor(name, type, elements, new Lazy<byte[]>(data), kind));
        return this;
    }

    private long Maximum(Extent extent) => extent.Evaluate(name => dimensions.First(d => d.Name == name).Maximum);

    private static byte[] Encode(ScalarType type, double[] values) => type switch
    {
        ScalarType.F32 => Bytes(Array.ConvertAll(values, v => (float)v)),
        ScalarType.I32 => Bytes(Array.ConvertAll(values, v => (int)v)),
        ScalarType.F16 => Bytes(Array.ConvertAll(values, v => (Half)v)),
        _ => Bytes(Array.ConvertAll(values, v => (ushort)(BitConverter.SingleToUInt32Bits((float)v) >> 16))),
    };

    private static double[] Decode(ScalarType type, byte[] data) => type switch
    {
        ScalarType.F32 => Values<float>(data, v => v),
        ScalarType.I32 => Values<int>(data, v => v),
        ScalarType.F16 => Values<Half>(data, v => (double)v),
        _ => Values<ushort>(data, v => BitConverter.UInt32BitsToSingle((uint)v << 16)),
    };

    private static byte[] Bytes<T>(T[] values)
        where T : unmanaged => MemoryMarshal.AsBytes(values.AsSpan()).ToArray();

    private static double[] Values<T>(byte[] data, Converter<T, double> convert)
        where T : unmanaged => Array.ConvertAll(MemoryMarshal.Cast<byte, T>(data).ToArray(), convert);
}
