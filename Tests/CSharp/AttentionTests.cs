using Legato.Runtime.Cpu;
using Legato.Runtime.Plans;
using NUnit.Framework;
using static Legato.Tests.AttentionExpressions;

namespace Legato.Tests;

/// <summary>Attention and its gradient against their definition in float64, on every instruction set.</summary>
[TestFixture]
public class AttentionTests
{
    private static readonly Team One = new(new TeamOptions(Threads: 1, Pin: false));
    private static readonly Team Two = new(new TeamOptions(Threads: 2, Pin: false));
    private static readonly Team Three = new(new TeamOptions(Threads: 3, Pin: false));

    private static readonly CpuIsa[] Isas = [.. Enum.GetValues<CpuIsa>().Where(CpuIsaChoice.Supports)];

    private static readonly Dictionary<string, (Expr? Mask, Expr? Score)> Scorings = new()
    {
        ["none"] = (null, null),
        ["causal"] = (Causal, null),
        ["window"] = (Make(Operation.And, Causal, Window(13)), null),
        ["prefix"] = (Prefix(10), null),
        ["documents"] = (Make(Operation.And, Causal, SameDocument(110)), null),
        ["nothing"] = (Make(Operation.Less, K, Of(-1)), null),
        ["some rows empty"] = (Make(Operation.And, Causal, Make(Operation.LessOrEqual, Of(40), K)), null),
        ["by head"] = (Make(Operation.And, Causal, Make(Operation.Less, Make(Operation.Subtract, Q, K), Make(Operation.Add, H, Of(2)))), null),
        ["soft cap"] = (Causal, SoftCap(1.5)),
        ["alibi"] = (Causal, Alibi),
        ["soft cap, no mask"] = (null, SoftCap(2)),
    };

    [OneTimeTearDown]
    public void DisposeTeams()
    {
        One.Dispose();
        Two.Dispose();
        Three.Dispose();
    }

    [Test]
    public void MasksAndScores([ValueSource(nameof(Isas))] CpuIsa isa, [Values(1, 4)] int group)
    {
        foreach ((string name, (Expr? mask, Expr? score)) in Scorings)
            Check(new AttentionCase(2, 4, 4 / group, 110, 110, 16, 16) { Mask = mask, Score = score }, isa, name);
    }

    [Test]
    public void OddSizes([ValueSource(nameof(Isas))] CpuIsa isa, [Range(1, 8)] int seed)
    {
        var random = new Random(seed);
        int[] sizes = [1, 2, 3, 5, 8, 12, 16, 24, 31, 40, 64, 80];
        (Expr? mask, Expr? score) = Scorings.Values.ElementAt(random.Next(4));
        int keyHeads = random.Next(1, 4), length = random.Next(1, 180);
        var attention = new AttentionCase(
            random.Next(1, 3), keyHeads * random.Next(1, 10), keyHeads, length, length, sizes[random.Next(sizes.Length)], sizes[random.Next(sizes.Length)])
        {
            Mask = mask,
            Score = score,
        };
        Check(attention, isa, attention.ToString());
    }

    [Test]
    public void CrossLengths([ValueSource(nameof(Isas))] CpuIsa isa)
    {
        Check(new AttentionCase(1, 2, 1, 20, 333, 16, 32), isa, "few queries");
        Check(new AttentionCase(1, 2, 2, 333, 7, 32, 16), isa, "few keys");
    }

    [Test]
    public void PastOfEachRow(
        [ValueSource(nameof(Isas))] CpuIsa isa, [Values(1, 2, 70)] int queries, [Values("causal", "none", "window", "alibi", "by head")] string scoring)
    {
        (Expr? mask, Expr? score) = Scorings[scoring];
        foreach (int heads in (int[])[2, 6])
        {
            var attention = new AttentionCase(3, heads, 2, queries, 600, 16, 32) { Mask = mask, Score = score, Past = [0, 200, 530 - queries] };
            CheckForward(attention, isa, scoring);
        }
    }

    [Test]
    public void NarrowCaches([ValueSource(nameof(Isas))] CpuIsa isa, [Values(ScalarType.F32, ScalarType.BF16, ScalarType.F16)] ScalarType type, [Values(1, 30)] int queries)
    {
        var attention = new AttentionCase(2, 4, 2, queries, 200, 40, 64) { Mask = Causal, Past = [100, 3], CacheType = type };
        CheckForward(attention, isa, $"{type}");
    }

    [Test]
    public void DecodingTheLastPositionGivesItsRow([ValueSource(nameof(Isas))] CpuIsa isa)
    {
        var attention = new AttentionCase(2, 6, 2, 600, 600, 32, 32) { Mask = Causal };
        using var problem = new AttentionProblem(attention);
        float[] full = problem.Forward(Two, isa), last = problem.DecodeLast(Two, isa);
        int row = attention.Heads * attention.ValueSize;
        for (int b = 0; b < attention.Batch; b++)
        {
            double[] expected = [.. full.AsSpan((b * attention.Queries + attention.Queries - 1) * row, row).ToArray().Select(x => (double)x)];
            AttentionProblem.AssertNear(last[(b * row)..((b + 1) * row)], expected, 2e-6, "decoded");
        }
    }

    [Test]
    public void BitsDependNeitherOnThreadsNorOnTheBatch([ValueSource(nameof(Isas))] CpuIsa isa)
    {
        foreach ((string name, (Expr? mask, Expr? score)) in Scorings)
        {
            var attention = new AttentionCase(1, 4, 2, 110, 110, 32, 16) { Mask = mask, Score = score };
            using var problem = new AttentionProblem(attention);
            float[] forward = problem.Forward(One, isa), backward = problem.Backward(One, isa);
            foreach (Team team in (Team[])[Two, Three])
            {
                Assert.That(problem.Forward(team, isa), Is.EqualTo(forward), $"{name} forward");
                Assert.That(problem.Backward(team, isa), Is.EqualTo(backward), $"{name} backward");
            }
        }
        var decode = new AttentionCase(2, 4, 2, 1, 1200, 32, 16) { Past = [1100, 300] };
        using var step = new AttentionProblem(decode);
        float[] bits = step.Forward(One, isa);
        Assert.That(step.Forward(Three, isa), Is.EqualTo(bits));
    }

    [Test]
    public void ALaunchAllocatesNothing()
    {
        using var problem = new AttentionProblem(new AttentionCase(1, 4, 2, 80, 80, 32, 32) { Mask = Make(Operation.And, Causal, Window(20)), Score = Alibi });
        problem.AssertAllocatesNothing(One);
    }

    private static void Check(AttentionCase attention, CpuIsa isa, string what)
    {
        using var problem = new AttentionProblem(attention);
        (double[] forward, double[] backward) = problem.Reference();
        AttentionProblem.AssertNear(problem.Forward(Two, isa), forward, 4e-6, what);
        AttentionProblem.AssertNear(problem.Backward(One, isa), backward, 2e-5, $"{what}, gradient in one pass");
        AttentionProblem.AssertNear(problem.Backward(Three, isa), backward, 2e-5, $"{what}, gradient");
    }

    private static void CheckForward(AttentionCase attention, CpuIsa isa, string what)
    {
        using var problem = new AttentionProblem(attention);
        AttentionProblem.AssertNear(problem.Forward(Two, isa), problem.Reference().Forward, 4e-6, what);
    }
}
