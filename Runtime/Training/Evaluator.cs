using System.Runtime.InteropServices;
using Legato.Runtime.Data;
using Legato.Runtime.Devices;
using Legato.Runtime.Plans;

namespace Legato.Runtime.Training;

/// <summary>The mean loss over held-out text, in nats a token.</summary>
public readonly record struct EvaluationResult(double Loss)
{
    public double Perplexity => Math.Exp(Loss);
}

/// <summary>Runs a <see cref="Purpose.Evaluate"/> plan over the same parameters that training changes.</summary>
public sealed class Evaluator
{
    private readonly IExecutable executable;
    private readonly EvaluationBatches batches;
    private readonly IDeviceMemory tokens;
    private readonly IDeviceMemory labels;
    private readonly IDeviceMemory loss;
    private readonly int[] inputs;
    private readonly int[] targets;

    public Evaluator(IExecutable executable, EvaluationBatches batches)
    {
        (this.executable, this.batches) = (executable, batches);
        PlanBuffer input = executable.Plan.Buffer(BufferClass.Input, "tokens");
        tokens = executable.Memory(input);
        labels = executable.Memory(executable.Plan.Buffer(BufferClass.Input, "labels"));
        loss = executable.Memory(executable.Plan.Buffer(BufferClass.Output, "loss"));
        inputs = new int[executable.Plan.Maximum(input.Elements)];
        targets = new int[inputs.Length];
    }

    public EvaluationResult Run()
    {
        double sum = 0;
        for (int batch = 0; batch < batches.Count; batch++)
        {
            batches.Fill(batch, inputs, targets);
            tokens.Write(0, MemoryMarshal.AsBytes<int>(inputs));
            labels.Write(0, MemoryMarshal.AsBytes<int>(targets));
            executable.Run();
            float mean = 0;
            loss.Read(0, MemoryMarshal.AsBytes(new Span<float>(ref mean)));
            sum += mean;
        }
        return new EvaluationResult(sum / batches.Count);
    }
}
