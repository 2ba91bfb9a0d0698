using System.Text.Json;
using Legato.Runtime;
using Legato.Runtime.Checkpoints;
using Legato.Runtime.Data;
using Legato.Runtime.Devices;
using Legato.Runtime.Plans;
using Legato.Runtime.Training;
using NUnit.Framework;

namespace Legato.Tests;

public sealed class TrainingTests
{
    private const int Vocabulary = 11;

    private readonly TemporaryFolder folder = new();

    [OneTimeTearDown]
    public void RemoveFolder() => folder.Dispose();

    private static TrainingOptions Options(long steps = 40) => new(steps, Batch: 4, Sequence: 8, new LearningRate.Cosine(0.1, 5, 40, 0.1))
    {
        EvaluateEvery = 10,
        CheckpointEvery = 10,
        KeepCheckpoints = 2,
        Seed = 7,
    };

    [TestCase("train_gpt2")]
    [TestCase("train_llama")]
    public void TheCosineFollowsTheReference(string golden)
    {
        string shared = SharedFolder.Require("goldens/" + golden);
        using JsonDocument expected = JsonDocument.Parse(File.ReadAllText(Path.Combine(shared, "expected.json")));
        JsonElement root = expected.RootElement;
        var rate = new LearningRate.Cosine(
            root.GetProperty("peak_lr").GetDouble(), root.GetProperty("warmup_steps").GetInt64(), root.GetProperty("steps").GetInt64(),
            root.GetProperty("min_lr_factor").GetDouble());

        foreach (JsonElement row in root.GetProperty("rows").EnumerateArray())
            Assert.That(rate.At(row.GetProperty("step").GetInt64()), Is.EqualTo(row.GetProperty("lr").GetDouble()).Within(1e-12));
    }

    [Test]
    public void EverySchedulePassesItsCorners()
    {
        Assert.That(new LearningRate.Constant(2, 4).At(0), Is.EqualTo(0.5));
        Assert.That(new LearningRate.Constant(2, 0).At(0), Is.EqualTo(2));
        Assert.That(new LearningRate.Linear(2, 0, 10, 0.5).At(5), Is.EqualTo(1.5));
        Assert.That(new LearningRate.Linear(2, 0, 10, 0.5).At(20), Is.EqualTo(1));
        var wsd = new LearningRate.WarmUpStableDecay(2, 4, 20, 10, 0);
        Assert.That(new[] { wsd.At(3), wsd.At(10), wsd.At(15), wsd.At(20) }, Is.EqualTo(new double[] { 2, 2, 1, 0 }));
    }

    [Test]
    public void TrainingLearnsAndLeavesItsRecords()
    {
        string path = folder.File("learns");
        var seen = new Recorder();
        TrainingOutcome outcome = Train(path, Options(), observer: seen);

        Assert.That(outcome, Has.Property("Step").EqualTo(40).And.Property("WasCancelled").False);
        Assert.That(outcome.Evaluation!.Value.Loss, Is.LessThan(Math.Log(Vocabulary) / 2));
        Assert.That(outcome.Evaluation.Value.Perplexity, Is.EqualTo(Math.Exp(outcome.Evaluation.Value.Loss)));
        Assert.That(seen.Steps, Is.EqualTo(Enumerable.Range(1, 40)));
        Assert.That(seen.Checkpoints, Is.EqualTo(new[] { 10, 20, 30, 40 }));
        Assert.That(Directory.GetDirectories(Path.Combine(path, "checkpoints")).Select(Path.GetFileName).Order(), Is.EqualTo(new[] { "step-000030", "step-000040" }));
        Assert.That(RunFolder.Open(path).Latest, Does.EndWith("step-000040"));

        JsonElement[] lines = [.. File.ReadLines(Path.Combine(path, "metrics.jsonl")).Select(l => JsonDocument.Parse(l).RootElement)];
        Assert.That(lines, Has.Length.EqualTo(40));
        Assert.That(lines[9].GetProperty("perplexity").GetDouble(), Is.GreaterThan(1));
        Assert.That(lines[0].GetProperty("rate").GetDouble(), Is.EqualTo(0.02).Within(1e-9));
        string report = File.ReadAllText(Path.Combine(path, "report.html"));
        Assert.That(report, Does.Contain("<svg").And.Contain("polyline").And.Contain("prefers-color-scheme").And.Not.Contain("<script").And.Not.Contain("http"));
    }

    [TestCase(10)]
    [TestCase(13)]
    [TestCase(1)]
    public void AResumedRunIsTheUninterruptedRunBitForBit(int stopAfter)
    {
        string whole = folder.File("whole" + stopAfter);
        string broken = folder.File("broken" + stopAfter);
        Train(whole, Options());

        TrainingOutcome stopped = Train(broken, Options(), observer: new Recorder { CancelAt = stopAfter });
        Assert.That(stopped, Has.Property("Step").EqualTo(stopAfter).And.Property("WasCancelled").True);
        Train(broken, Options(), resume: true);

        foreach (string file in new[] { "model.safetensors", "optimizer.safetensors", "training_state.json" })
            Assert.That(File.ReadAllBytes(Final(broken, file)), Is.EqualTo(File.ReadAllBytes(Final(whole, file))), file);
        Assert.That(Losses(broken), Is.EqualTo(Losses(whole)));
    }

    [Test]
    public void ACrashLosesOnlyTheStepsSinceTheLastCheckpoint()
    {
        string whole = folder.File("uncrashed");
        string crashed = folder.File("crashed");
        Train(whole, Options());
        Assert.That(() => Train(crashed, Options(), observer: new Recorder { CrashAt = 25 }), Throws.TypeOf<InvalidOperationException>());
        File.AppendAllText(Path.Combine(crashed, "metrics.jsonl"), "{\"step\":26,\"lo");
        Directory.CreateDirectory(Path.Combine(crashed, "checkpoints", AtomicWrite.TemporaryPrefix + "step-000030"));

        Assert.That(RunFolder.Open(crashed).Latest, Does.EndWith("step-000020"));
        Train(crashed, Options(), resume: true);

        Assert.That(File.ReadAllBytes(Final(crashed, "model.safetensors")), Is.EqualTo(File.ReadAllBytes(Final(whole, "model.safetensors"))));
        Assert.That(Losses(crashed), Is.EqualTo(Losses(whole)));
    }

    [Test]
    public void WhatCannotBeShownCostsNoStep()
    {
        string whole = folder.File("shown"), unseen = folder.File("unseen");
        Train(whole, Options());
        LegatoException error = Assert.Throws<LegatoException>(() => Train(unseen, Options(), observer: new Recorder { FullAt = 25 }))!;
        Assert.That(error.Message, Does.Contain("no room").And.Contain("its checkpoint of step 25 is kept"));
        Assert.That(RunFolder.Open(unseen).Latest, Does.EndWith("step-000025"));
        Train(unseen, Options(), resume: true);

        Assert.That(File.ReadAllBytes(Final(unseen, "model.safetensors")), Is.EqualTo(File.ReadAllBytes(Final(whole, "model.safetensors"))));
        Assert.That(Losses(unseen), Is.EqualTo(Losses(whole)));
    }

    [TestCase("")]
    [TestCase("\n")]
    [TestCase("..")]
    public void ADamagedLatestIsTheNewestCheckpoint(string text)
    {
        string path = folder.File($"latest{text.Length}");
        Train(path, Options());
        File.WriteAllText(Path.Combine(path, "latest"), text);
        Assert.That(RunFolder.Open(path).Latest, Does.EndWith("step-000040"));
    }

    [Test]
    public void AccumulatedBatchesAreTheFullBatch()
    {
        Train(folder.File("full"), Options());
        Train(folder.File("parts"), Options() with { Batch = 2, Accumulate = 2 });

        Assert.That(Losses(folder.File("parts")), Is.EqualTo(Losses(folder.File("full"))));
    }

    [Test]
    public void ALossThatIsNoNumberStopsTheRunAndKeepsTheCheckpoint()
    {
        string path = folder.File("nan");
        LegatoException error = Assert.Throws<LegatoException>(() => Train(path, Options(), fault: (14, float.NaN)))!;

        Assert.That(error.Message, Does.Contain("step 15").And.Contain("NaN").And.Contain("checkpoint of step 10 is kept").And.Contain("lower the learning rate"));
        Assert.That(RunFolder.Open(path).Latest, Does.EndWith("step-000010"));
        Assert.That(File.ReadLines(Path.Combine(path, "metrics.jsonl")).Last(), Does.Contain("\"loss\":null").And.Contain("not finite"));
    }

    [Test]
    public void ASpikeIsAWarning()
    {
        var seen = new Recorder();
        Train(folder.File("spike"), Options(), fault: (30, 90f), observer: seen);

        Assert.That(seen.Warnings, Is.EqualTo(new[] { "loss spike: 90.000 at step 31" }));
        Assert.That(File.ReadLines(Path.Combine(folder.File("spike"), "metrics.jsonl")).ElementAt(30), Does.Contain("loss spike"));
    }

    [Test]
    public void ResumingWithSomethingElseIsRefused()
    {
        string path = folder.File("else");
        Train(path, Options(20));

        LegatoException error = Assert.Throws<LegatoException>(
            () => Train(path, Options() with { Seed = 8, Batch = 2 }, resume: true, data: Data(seed: 2)))!;
        Assert.That(error.Message, Does.Contain("seed: 7 then, 8 now").And.Contain("batch: 4 then, 2 now").And.Contain("data: "));
        Assert.That(
            () => Train(path, Options(), resume: true, vocabulary: Vocabulary + 1),
            Throws.TypeOf<LegatoException>().With.Message.Contains("another model"));
        File.WriteAllText(Final(path, "training_state.json", 20), "{\"step\":");
        Assert.That(() => Train(path, Options(), resume: true), Throws.TypeOf<LegatoException>().With.Message.Contains("no usable training state"));
    }

    [Test]
    public void ARunIsNotStartedOverAnother()
    {
        string path = folder.File("taken");
        Train(path, Options(1));
        Assert.That(() => RunFolder.Create(path, [], out _), Throws.TypeOf<LegatoException>().With.Message.Contains("already"));
        Assert.That(() => RunFolder.Open(folder.File("nowhere")), Throws.TypeOf<LegatoException>().With.Message.Contains("no training run"));
        File.WriteAllText(folder.File("a-file"), "");
        Assert.That(() => RunFolder.Create(folder.File("a-file/run"), [], out _), Throws.TypeOf<LegatoException>().With.Message.Contains("can't make"));
    }

    [Test]
    public void OfTwoThatWantAFreeNameOneHasIt()
    {
        string path = folder.File("runs/named");
        Assert.That(RunFolder.CreateIfFree(path, out IDisposable? held)?.Path, Is.EqualTo(path));
        using (held)
        {
            Assert.That(RunFolder.CreateIfFree(path, out _), Is.Null);
            Assert.That(() => RunFolder.Create(path, [], out _), Throws.TypeOf<LegatoException>().With.Message.Contains("another process is working"));
        }
        Assert.That(RunFolder.CreateIfFree(path, out _), Is.Null);
    }

    [Test]
    public void TheFolderOfARunThatWasKilledBeforeItsFirstStepIsTaken()
    {
        string path = folder.File("killed");
        RunFolder run = RunFolder.Create(path, [], out IDisposable held);
        held.Dispose();
        File.WriteAllText(run.MetricsFile, "");
        foreach (string name in new[] { "settings.json", "lock", ".partial-99-tokens.bin" })
            File.WriteAllText(Path.Combine(path, name), "");
        Directory.CreateDirectory(Path.Combine(path, "checkpoints", ".partial-99-step-000001"));
        Assert.That(() => run.RequireLatest(), Throws.TypeOf<LegatoException>().With.Message.Contains("without --resume"));

        // What it doesn't know may be another's.
        Assert.That(() => RunFolder.Create(path, [], out _), Throws.TypeOf<LegatoException>().With.Message.Contains("isn't empty"));
        Assert.That(File.Exists(Path.Combine(path, "settings.json")));
        _ = RunFolder.Create(path, ["settings.json"], out held);
        held.Dispose();
        Assert.That(File.Exists(Path.Combine(path, "settings.json")), Is.False);
        Assert.That(Directory.GetFileSystemEntries(Path.Combine(path, "checkpoints")), Is.Empty);

        File.WriteAllText(run.MetricsFile, "{}");
        Assert.That(() => RunFolder.Create(path, [], out _), Throws.TypeOf<LegatoException>().With.Message.Contains("has no checkpoint yet"));
    }

    [Test]
    public void ACheckpointThatCannotBeWrittenLeavesTheOneBefore()
    {
        string path = folder.File("full-disk");
        Train(path, Options(20));
        RunFolder run = RunFolder.Open(path);

        Assert.That(
            () => run.WriteCheckpoint(30, 1, _ => throw new IOException("No space left on device", 28 /* ENOSPC */)),
            Throws.TypeOf<LegatoException>().With.Message.Contains("the disk is full").And.Message.Contains("free some disk space"));

        Assert.That(run.Latest, Does.EndWith("step-000020"));
        Assert.That(Directory.GetDirectories(Path.Combine(path, "checkpoints")), Has.Length.EqualTo(2));
    }

    [Test]
    public void WhatDoesNotFitTheModelIsRefused()
    {
        Assert.That(
            () => Train(folder.File("long"), Options() with { Sequence = 65 }),
            Throws.TypeOf<LegatoException>().With.Message.Contains("longer than the context"));
        Assert.That(
            () => Train(folder.File("words"), Options(), vocabulary: 5),
            Throws.TypeOf<LegatoException>().With.Message.Contains("11 tokens, bigram only 5"));
        Assert.That(() => Train(folder.File("none"), Options() with { Batch = 0 }), Throws.TypeOf<LegatoException>().With.Message.Contains("batch"));
        Assert.That(
            () => Train(folder.File("short"), Options(), data: Data(length: 8)),
            Throws.TypeOf<LegatoException>().With.Message.Contains("need 9 tokens"));
    }

    [Test]
    public void AStepAllocatesNothing()
    {
        var plans = new BigramPlans(Vocabulary);
        using var memory = new ModelMemory(new BigramDevice(plans.Optimizer));
        TrainingOptions options = Options();
        IExecutable executable = memory.Compile(plans.Plan(new PlanRequest(Purpose.Train, 4, 8, 8)));
        var step = new TrainingStep(executable, options.Optimizer, 1);
        var batches = new WindowBatches(TokenRange.All(Data()), 4, new RowShape(8), 1);
        var batch = new RowBatch(4, new RowShape(8));
        for (int i = 0; i < 3; i++)
            Once(i);
        long before = GC.GetAllocatedBytesForCurrentThread();
        for (int i = 3; i < 50; i++)
            Once(i);
        Assert.That(GC.GetAllocatedBytesForCurrentThread() - before, Is.Zero);

        void Once(long i)
        {
            batches.Fill(i, batch);
            step.Run(i, batch, options.Rate.At(i));
        }
    }

    [Test]
    public void ParametersStartAsDeclared()
    {
        PlanParameter Declared(string path, InitializerKind kind, double value) =>
            new(path, [new("rows", 300), new("columns", 1001)], new Initializer(kind, value), true, []);
        PlanParameter[] parameters =
        [
            Declared("normal", InitializerKind.Normal, 0.5), Declared("uniform", InitializerKind.Uniform, 2), Declared("ones", InitializerKind.Ones, 0),
            Declared("zeros", InitializerKind.Zeros, 0), Declared("constant", InitializerKind.Constant, -3),
        ];
        var model = new ModelDescription("m", "{}", 1, 1, null, [], parameters, new WeightMap([], [], []));
        Dictionary<string, ArrayMemory> memory = parameters.ToDictionary(p => p.Path, p => new ArrayMemory(p.Elements * 4));
        InitialParameters.Write(model, 3, path => new ParameterMemory(memory[path], ScalarType.F32));
        float[] Values(string path) => System.Runtime.InteropServices.MemoryMarshal.Cast<byte, float>(memory[path].Content).ToArray();

        double deviation = Math.Sqrt(Values("normal").Average(x => (double)x * x));
        Assert.That(deviation, Is.EqualTo(0.5).Within(0.005));
        Assert.That(Values("uniform").Max(), Is.InRange(1.99, 2));
        Assert.That(Values("uniform").Average(), Is.EqualTo(0).Within(0.01));
        Assert.That(Values("ones"), Is.All.EqualTo(1));
        Assert.That(Values("zeros"), Is.All.Zero);
        Assert.That(Values("constant"), Is.All.EqualTo(-3));
        byte[] first = memory["normal"].Content.ToArray();
        InitialParameters.Write(model, 3, path => new ParameterMemory(memory[path], ScalarType.F32));
        Assert.That(memory["normal"].Content, Is.EqualTo(first));
    }

    private static TokenData Data(int seed = 1, int length = 2000)
    {
        // A walk in which each token nearly always has the same successor.
        var random = new CounterRandom(seed, "test");
        var tokens = new int[length];
        for (int i = 1; i < length; i++)
            tokens[i] = random.Below((ulong)i, 20) == 0 ? random.Below((ulong)(i + length), Vocabulary) : (tokens[i - 1] * 3 + 1) % Vocabulary;
        return TokenData.Of(tokens, Vocabulary, new string('a', 64));
    }

    private static TrainingOutcome Train(
        string path, TrainingOptions options, bool resume = false, Recorder? observer = null, (long, float)? fault = null,
        TokenData? data = null, int vocabulary = Vocabulary)
    {
        var plans = new BigramPlans(vocabulary);
        using var device = new BigramDevice(plans.Optimizer) { Fault = fault };
        (TokenRange train, TokenRange heldOut) = TokenRange.Split(data ?? Data(), data is null ? 0.2 : 0);
        IDisposable? held = null;
        RunFolder run = resume ? RunFolder.Open(path) : RunFolder.Create(path, [], out held);
        using IDisposable? ending = held;
        using var trainer = new Trainer(device, plans, train, heldOut, options, run, observer: observer);
        if (resume)
            trainer.Resume();
        else
            trainer.Initialize();
        return trainer.Run(observer?.Cancellation.Token ?? default);
    }

    private static string Final(string run, string file, int step = 40) => Path.Combine(run, "checkpoints", $"step-{step:D6}", file);

    private static double[] Losses(string run) =>
        [.. File.ReadLines(Path.Combine(run, "metrics.jsonl")).Select(l => JsonDocument.Parse(l).RootElement.GetProperty("loss").GetDouble())];

    private sealed class Recorder : ITrainingObserver
    {
        public CancellationTokenSource Cancellation { get; } = new();

        public long CancelAt { get; init; } = -1;

        public long CrashAt { get; init; } = -1;

        public long FullAt { get; init; } = -1;

        public List<long> Steps { get; } = [];

        public List<long> Checkpoints { get; } = [];

        public List<string> Warnings { get; } = [];

        public void Stepped(in StepMetrics metrics)
        {
            Steps.Add(metrics.Step);
            if (metrics.Step == CancelAt)
                Cancellation.Cancel();
            if (metrics.Step == CrashAt)
                throw new InvalidOperationException("crash");
            if (metrics.Step == FullAt)
                throw new LegatoException("there is no room", "the standard output");
        }

        public void CheckpointWritten(long step, string folder) => Checkpoints.Add(step);

        public void Warned(long step, string message) => Warnings.Add(message);
    }
}
