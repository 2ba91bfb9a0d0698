using Legato.Runtime.Checkpoints;
using Legato.Runtime.Cpu;
using Legato.Runtime.Data;
using Legato.Runtime.Devices;
using Legato.Runtime.Generation;
using Legato.Runtime.Interpreter;
using Legato.Runtime.Plans;
using Legato.Runtime.Training;
using NUnit.Framework;

namespace Legato.Tests;

/// <summary>
/// Plans that <c>legato plan --save</c> wrote, run where there is no compiler: this assembly doesn't know it, and none is
/// beside it.
/// </summary>
public class SavedPlanTests
{
    private const int Context = 32;

    private static string Folder => Path.Combine(RepositoryFolder(), "Tests", "Goldens", "saved", "llama-tiny");

    [Test]
    public void TheCompilerIsNotHere() =>
        Assert.That(Directory.GetFiles(AppContext.BaseDirectory, "Legato.Compiler.dll"), Is.Empty);

    [Test]
    public void ASavedModelSpeaks([Values] bool isInterpreted)
    {
        using IDevice device = isInterpreted ? new InterpreterDevice() : new CpuDevice(new CpuDeviceOptions(Threads: 2));
        using var memory = new ModelMemory(device);
        var plans = new SavedPlans(Folder);
        using var generator = new Generator(plans, memory, new GeneratorSizes(1, Context, Context));
        InitialParameters.Write(plans.Model, seed: 1, memory.Parameter);
        GeneratedRow row = generator.Generate([[1, 2, 3]], new GenerationOptions(8) { Sampling = Sampling.Greedy, EndTokens = [] })[0];
        Assert.That(row.Tokens, Has.Count.EqualTo(8));
        Assert.That(row.Reason, Is.EqualTo(FinishReason.Length));
    }

    [Test]
    public void AModelWhoseWeightsWereForgottenSaysSo()
    {
        using var device = new CpuDevice(new CpuDeviceOptions(Threads: 2));
        using var memory = new ModelMemory(device);
        var plans = new SavedPlans(Folder);
        using var generator = new Generator(plans, memory, new GeneratorSizes(1, Context, Context));
        InvalidOperationException error = Assert.Throws<InvalidOperationException>(() => generator.Generate([[1, 2, 3]], new GenerationOptions(8)))!;
        Assert.That(error.Message, Does.Contain("the weights were not loaded").And.Contain("HubCheckpoint.Load("));
    }

    [Test]
    public void ASavedModelLearns()
    {
        using var device = new CpuDevice(new CpuDeviceOptions(Threads: 2));
        using var memory = new ModelMemory(device);
        var plans = new SavedPlans(Folder);
        using IExecutable executable = memory.Compile(plans.Plan(new PlanRequest(Purpose.Train, 2, Context, Context)));
        InitialParameters.Write(plans.Model, seed: 1, memory.Parameter);
        var step = new TrainingStep(executable, OptimizerSettings.Default, seed: 1);
        int[] tokens = [.. Enumerable.Range(0, 2 * Context).Select(i => i % 7)];
        int[] labels = [.. Enumerable.Range(1, 2 * Context).Select(i => i % 7)];
        float first = step.Run(0, RowBatch.Of(tokens, labels), 1e-2).Loss;
        float last = first;
        for (int i = 1; i < 20; i++)
            last = step.Run(i, RowBatch.Of(tokens, labels), 1e-2).Loss;
        Assert.That(last, Is.LessThan(0.5f * first));
    }

    private static string RepositoryFolder()
    {
        string? folder = AppContext.BaseDirectory;
        while (folder is not null && !File.Exists(Path.Combine(folder, "Legato.slnx")))
            folder = Path.GetDirectoryName(folder);
        return folder ?? throw new InvalidOperationException("no folder above the tests holds Legato.slnx");
    }
}
