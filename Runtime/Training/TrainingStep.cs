using System.Runtime.InteropServices;
using Legato.Runtime.Data;
using Legato.Runtime.Devices;
using Legato.Runtime.Plans;

namespace Legato.Runtime.Training;

/// <summary>What a step gives: the mean loss before the update, and the gradient's norm before clipping.</summary>
public readonly record struct StepResult(float Loss, float GradientNorm)
{
    public bool IsFinite => float.IsFinite(Loss) && float.IsFinite(GradientNorm);
}

/// <summary>
/// Launches a <see cref="Purpose.Train"/> plan: one optimizer step a call. Allocates nothing after its construction.
/// </summary>
public sealed class TrainingStep
{
    private readonly IExecutable executable;
    private readonly OptimizerSettings optimizer;
    private readonly long seed;
    private readonly RowInputs rows;
    private readonly IDeviceMemory? rate;
    private readonly IDeviceMemory? correction1;
    private readonly IDeviceMemory? correction2;
    private readonly IDeviceMemory? randomSeed;
    private readonly IDeviceMemory loss;
    private readonly IDeviceMemory gradientNorm;
    private readonly RouterLoad[] loads;

    /// <param name="seed">Of the model's own randomness (dropout).</param>
    public TrainingStep(IExecutable executable, OptimizerSettings optimizer, long seed)
    {
        (this.executable, this.optimizer, this.seed) = (executable, optimizer, seed);
        rows = new RowInputs(executable);
        rate = Optional("rate");
        correction1 = Optional("correction1");
        correction2 = Optional("correction2");
        randomSeed = Optional("seed");
        loss = executable.Memory(executable.Plan.Buffer(BufferClass.Output, "loss"));
        gradientNorm = executable.Memory(executable.Plan.Buffer(BufferClass.Output, "gradient_norm"));
        loads = RouterLoad.Of(executable);
    }

    /// <summary>How the model's routers divided the last step's tokens.</summary>
    public IReadOnlyList<RouterLoad> Loads => loads;

    /// <summary>Runs one step.</summary>
    /// <param name="step">Counted from 0.</param>
    /// <param name="batch">All rows of the step, those of one micro-batch after another.</param>
    public StepResult Run(long step, RowBatch batch, double learningRate)
    {
        rows.Write(batch);
        Write(rate, (float)learningRate);
        Write(correction1, (float)(1 - Math.Pow(optimizer.Beta1, step + 1)));
        Write(correction2, (float)(1 - Math.Pow(optimizer.Beta2, step + 1)));
        int drawn = (int)CounterRandom.Mix((ulong)seed * 0x9E3779B97F4A7C15 + (ulong)step);
        randomSeed?.Write(0, MemoryMarshal.AsBytes(new ReadOnlySpan<int>(in drawn)));
        executable.Run();
        foreach (RouterLoad load in loads)
            load.Read();
        return new StepResult(Read(loss), Read(gradientNorm));
    }

    // A plan without a use for an input leaves it out.
    private IDeviceMemory? Optional(string name)
    {
        foreach (PlanBuffer buffer in executable.Plan.Buffers)
            if (buffer.Class == BufferClass.Input && buffer.Name == name)
                return executable.Memory(buffer);
        return null;
    }

    private static void Write(IDeviceMemory? memory, float value) => memory?.Write(0, MemoryMarshal.AsBytes(new ReadOnlySpan<float>(in value)));

    private static float Read(IDeviceMemory memory)
    {
        float value = 0;
        memory.Read(0, MemoryMarshal.AsBytes(new Span<float>(ref value)));
        return value;
    }
}
