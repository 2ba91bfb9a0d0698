using Legato.Runtime.Cpu;
using Legato.Runtime.Plans;

namespace Legato.Runtime.Cuda;

/// <summary>The compiler's kernels: neighbours that needn't wait for each other at once, sums in pieces.</summary>
internal sealed partial class CudaLowering
{
    private CudaKernelCall Call(Step.Fused step) => new(step.Name, step.Cost, step.Kernel, Views(step.Operands));

    /// <summary>The kernels of neighbouring steps; one that sums parts takes over the steps that add those up.</summary>
    private List<CudaKernelCall> Calls(Step.Fused[] steps)
    {
        var calls = new List<CudaKernelCall>();
        var taken = new HashSet<int>();
        for (int i = 0; i < steps.Length; i++)
            if (!taken.Contains(i))
            {
                Dictionary<int, int>? followers = Followers(i);
                taken.UnionWith(followers?.Values ?? Enumerable.Empty<int>());
                calls.Add(Call(steps[i]) with { Results = followers?.ToDictionary(f => f.Key, f => View(steps[f.Value].Operands[1])) });
            }
        return calls;

        // By operand, the step that adds up its parts; null where one has none, or they cannot be computed at once.
        Dictionary<int, int>? Followers(int first)
        {
            if (Sums(steps[first].Kernel) is not { AreAdded: true, Parts: <= CudaColumnSumsLaunch.MostParts } sums)
                return null;
            var followers = new Dictionary<int, int>();
            for (int i = 0; i < sums.Sums.Count; i++)
            {
                int operand = sums.Sums[i];
                BufferView parts = steps[first].Operands[operand];
                int at = Array.FindIndex(steps, first + 1, s => s.Operands.Count == 2 && s.Operands[0].Equals(parts));
                if (at < 0 || SpellingMemo.Of(steps[at].Kernel, "sum of parts", () => SumOfParts.Of(steps[at].Kernel)) != new SumOfParts(sums.Parts, sums.Columns(i)) || !IsPassing(parts, at - first))
                    return null;
                followers[operand] = at;
            }
            CudaView[] results = [.. followers.Values.Select(at => View(steps[at].Operands[1]))];
            IEnumerable<Step.Fused> before = steps.Take(followers.Values.Max()).Skip(first).Where((_, k) => !followers.ContainsValue(first + k));
            return before.SelectMany(s => Views(s.Operands)).Any(view => results.Any(view.Overlaps)) ? null : followers;
        }
    }

    /// <summary>Whether what a step writes is last read so many steps after it, and nowhere but in the plan.</summary>
    private bool IsPassing(BufferView view, int steps) =>
        buffers[view.Buffer] is { Class: BufferClass.Activation or BufferClass.Workspace } buffer && buffer.LastStep == buffer.FirstStep + steps;

    /// <summary>Kernels of neighbouring steps: what needn't wait for each other is launched at once, as far as it can be.</summary>
    private void AddKernels(IEnumerable<CudaKernelCall> calls)
    {
        var stages = new CudaKernelStages();
        foreach (CudaKernelCall call in calls)
        {
            CudaKernelCall spread = call with { Kernel = ToGrid(call.Kernel, call.Views) };
            if (SpellingMemo.Of(spread.Kernel, "scatter", () => ScatterSums.Of(spread.Kernel)) is { } scatter)
            {
                AddStages(stages);
                stages = new CudaKernelStages();
                Add(new CudaScatterLaunch(spread.Name, spread.Cost, spread.Kernel, scatter, spread.Views, this));
            }
            else if (spread.Results is { } results && Sums(spread.Kernel) is { } sums)
            {
                AddStages(stages);
                stages = new CudaKernelStages();
                AddSums(spread, sums, results);
            }
            else
            {
                foreach (CudaKernelCall part in Parts(spread))
                    stages.Add(part);
            }
        }
        AddStages(stages);
    }

    private void AddStages(CudaKernelStages stages)
    {
        foreach (IReadOnlyList<CudaKernelCall> stage in stages.All)
        {
            (IEnumerable<CudaJoinedLaunch> joined, IEnumerable<CudaKernelCall> left) = CudaJoinedLaunch.Of(stage, this);
            foreach (CudaJoinedLaunch launch in joined)
                Add(launch);
            foreach (CudaKernelCall call in left)
            {
                _ = Write(call.Kernel, call.Views);
                Add(() => new CudaKernelLaunch(call.Name, call.Cost, call.Kernel, call.Views, this));
            }
        }
    }

    /// <summary>A kernel that sums rows in pieces, and their sums.</summary>
    private void AddSums(CudaKernelCall call, ColumnSums sums, IReadOnlyDictionary<int, CudaView> results)
    {
        CudaView[] pieces = [.. sums.PieceElements.Select(Workspace)], all = [.. call.Views, .. pieces];
        _ = Write(sums.Fold, all);
        Add(() => new CudaKernelLaunch(call.Name, call.Cost, sums.Fold, all, this));
        PiecesOfSum[] finished = [.. sums.Sums.Select((operand, i) => new PiecesOfSum(pieces[i], results[operand], sums.Columns(i)))];
        Want(CudaColumnSumsLaunch.Source(finished.Length));
        Add(new CudaColumnSumsLaunch(call.Name + " sum", Cost.Zero, finished, sums.Parts, sums.Each, this));
    }

    /// <summary>A kernel in as many launches as spread it over the GPU.</summary>
    private IEnumerable<CudaKernelCall> Parts(CudaKernelCall call)
    {
        if (SpellingMemo.Of(call.Kernel, "split", () => KernelSplit.Of(call.Kernel)) is { } split)
        {
            CudaView[] all = [.. call.Views, .. Enumerable.Range(0, split.Accumulators).Select(_ => Workspace(split.Pieces))];
            return [call with { Kernel = split.Fold, Views = all }, new(call.Name, Cost.Zero, split.Finish, all)];
        }
        if (Sums(call.Kernel) is { } sums)
        {
            CudaView[] pieces = [.. sums.PieceElements.Select(Workspace)];
            return [
                call with { Kernel = sums.Fold, Views = [.. call.Views, .. pieces] },
                new(call.Name, Cost.Zero, sums.Finish, [.. sums.Sums.Select(s => call.Views[s]), .. pieces]),
            ];
        }
        return [call];
    }
}
