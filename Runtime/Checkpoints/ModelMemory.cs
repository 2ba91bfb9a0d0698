using System.Buffers;
using System.Collections.Concurrent;
using System.Runtime.InteropServices;
using Legato.Runtime.Devices;
using Legato.Runtime.Plans;

namespace Legato.Runtime.Checkpoints;

/// <summary>A parameter on a device: its bytes and the type of its elements.</summary>
public readonly record struct ParameterMemory(IDeviceMemory Memory, ScalarType Type)
{
    private const int PieceElements = 1 << 18;

    /// <summary>Writes float32s from an element on, rounded to the type of the memory, a piece at a time.</summary>
    public void WriteRounded(long start, ReadOnlySpan<float> values)
    {
        if (Type == ScalarType.F32)
        {
            Memory.Write(start * sizeof(float), MemoryMarshal.AsBytes(values));
            return;
        }
        int size = Type.Size();
        byte[] rented = ArrayPool<byte>.Shared.Rent(Math.Min(PieceElements, values.Length) * size);
        for (int at = 0; at < values.Length; at += PieceElements)
        {
            ReadOnlySpan<float> piece = values.Slice(at, Math.Min(PieceElements, values.Length - at));
            Span<byte> narrow = rented.AsSpan(0, piece.Length * size);
            ElementConversion.Convert(TensorType.F32, MemoryMarshal.AsBytes(piece), Type, narrow);
            Memory.Write((start + at) * size, narrow);
        }
        ArrayPool<byte>.Shared.Return(rented);
    }
}

/// <summary>
/// What a model keeps on a device between launches: parameters, optimizer state, caches and constants, by name, shared
/// by all plans of the model.
/// </summary>
public sealed class ModelMemory(IDevice device) : IDisposable
{
    private readonly Dictionary<string, IDeviceMemory> byName = new(StringComparer.Ordinal);
    private readonly Dictionary<string, PlanBuffer> declared = new(StringComparer.Ordinal);
    // Weights are loaded by several threads.
    private readonly ConcurrentDictionary<string, bool> given = new(StringComparer.Ordinal);

    public IDevice Device => device;

    /// <summary>The memory of every persistent buffer, for <see cref="IDevice.Compile"/>.</summary>
    public IReadOnlyDictionary<string, IDeviceMemory> ByName => byName;

    /// <summary>Allocates, zeroed, what the plan keeps and no plan before it has asked for.</summary>
    /// <exception cref="LegatoException">Two plans give one name different sizes or types.</exception>
    public void Reserve(Plan plan)
    {
        foreach (PlanBuffer buffer in plan.Buffers)
            if (buffer.IsPersistent)
                Add(plan, buffer);
    }

    /// <summary>Makes the plan ready, on what <see cref="Reserve"/> gives it.</summary>
    /// <exception cref="LegatoException">Two plans give one name different sizes or types.</exception>
    public IExecutable Compile(Plan plan)
    {
        Reserve(plan);
        return device.Compile(plan, byName);
    }

    /// <summary>The parameter of that path; in float32 if a training plan keeps masters.</summary>
    public ParameterMemory Parameter(string path)
    {
        given.TryAdd(path, true);
        var stored = new ParameterMemory(byName[path], declared[path].Type);
        return byName.TryGetValue(MasterWeights.Prefix + path, out IDeviceMemory? master)
            ? new ParameterMemory(new MasterMemory(master, stored), ScalarType.F32)
            : stored;
    }

    /// <summary>A parameter that nobody has asked for, and thus nobody written: null once the weights are loaded.</summary>
    public string? Unwritten => Buffers(BufferClass.Parameter).FirstOrDefault(buffer => !given.ContainsKey(buffer.Name))?.Name;

    /// <summary>The buffers of a class, by name.</summary>
    public IEnumerable<PlanBuffer> Buffers(BufferClass kind) =>
        declared.Values.Where(b => b.Class == kind).OrderBy(b => b.Name, StringComparer.Ordinal);

    /// <summary>Gives back the buffers of a class, which no executable may use from now on; plans to come may give them other sizes.</summary>
    public void Release(BufferClass kind)
    {
        foreach (PlanBuffer buffer in Buffers(kind).ToArray())
        {
            byName[buffer.Name].Dispose();
            byName.Remove(buffer.Name);
            declared.Remove(buffer.Name);
        }
    }

    public void Dispose()
    {
        foreach (IDeviceMemory memory in byName.Values)
            memory.Dispose();
        byName.Clear();
    }

    private void Add(Plan plan, PlanBuffer buffer)
    {
        long bytes = plan.Maximum(buffer.Bytes);
        if (!byName.TryGetValue(buffer.Name, out IDeviceMemory? memory))
        {
            byName.Add(buffer.Name, device.Allocate(bytes));
            declared.Add(buffer.Name, buffer);
        }
        else if (memory.Bytes != bytes || declared[buffer.Name].Type != buffer.Type)
        {
            throw new LegatoException(
                $"two plans of {plan.Model} disagree about '{buffer.Name}': {memory.Bytes} bytes of {declared[buffer.Name].Type}, and {bytes} of {buffer.Type}",
                buffer.Name, "ask for both plans with the same precision, batch and context");
        }
    }
}
