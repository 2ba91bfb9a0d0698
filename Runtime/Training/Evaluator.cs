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
    private readonly RowInputs rows;
    private readonly IDeviceMemory loss;

    public Evaluator(IExecutable executable, EvaluationBatches batches)
    {
        (this.executable, this.batches) = (executable, batches);
        rows = new RowInputs(executable);
        loss = executable.Memory(executable.Plan.Buffer(BufferClass.Output, "loss"));
    }

    /// <summary>The mean over all labels of all batches that are to be told.</summary>
    public EvaluationResult Run()
    {
        double sum = 0;
        long told = 0;
        for (int index = 0; index < batches.Count; index++)
        {
            batches.Fill(index);
            rows.Write(batches.Batch);
            executable.Run();
            float mean = 0;
            loss.Read(0, MemoryMarshal.AsBytes(new Span<float>(ref mean)));
            sum += (double)mean * batches.Batch.Told;
            told += batches.Batch.Told;
        }
        return new EvaluationResult(sum / Math.Max(1, told));
    }
}
