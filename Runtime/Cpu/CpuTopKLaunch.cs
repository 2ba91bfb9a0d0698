using Legato.Runtime.Plans;

namespace Legato.Runtime.Cpu;

/// <summary>The K largest of each row by insertion into a sorted list: K is small, and most elements fail its last entry.</summary>
internal sealed unsafe class CpuTopKLaunch(Step.TopK step, CpuLowering lowering) : CpuLaunch(step.Name, step.Cost, lowering)
{
    private readonly CpuView input = Floats(lowering.View(step.Input)), values = Floats(lowering.View(step.Values));
    private readonly CpuView indices = lowering.View(step.Indices);
    private readonly CpuExtent rowExtent = lowering.Extent(step.Rows), widthExtent = lowering.Extent(step.Width);
    private long rows, width;
    private nint inputAddress, valuesAddress, indicesAddress;

    public override void Bind(ReadOnlySpan<long> dimensions)
    {
        base.Bind(dimensions);
        (rows, width) = (rowExtent.Evaluate(dimensions), widthExtent.Evaluate(dimensions));
        (inputAddress, valuesAddress, indicesAddress) = (input.Address(dimensions), values.Address(dimensions), indices.Address(dimensions));
        Alone = rows == 1 || IsSmall;
    }

    public override void Access(List<CpuAccess> accesses)
    {
        Read(accesses, input);
        Write(accesses, values);
        Write(accesses, indices);
    }

    public override void Run(Worker worker)
    {
        long from = Alone ? 0 : rows * worker.Index / worker.Count, to = Alone ? rows : rows * (worker.Index + 1) / worker.Count;
        for (long row = from; row < to; row++)
            Select(
                new ReadOnlySpan<float>((float*)inputAddress + row * width, (int)width),
                new Span<float>((float*)valuesAddress + row * step.K, step.K),
                new Span<int>((int*)indicesAddress + row * step.K, step.K));
    }

    private static void Select(ReadOnlySpan<float> row, Span<float> best, Span<int> at)
    {
        int found = 0;
        for (int i = 0; i < row.Length; i++)
        {
            if (found == best.Length && !(row[i] > best[^1]))
                continue;
            int place = found < best.Length ? found++ : found - 1;
            for (; place > 0 && row[i] > best[place - 1]; place--)
                (best[place], at[place]) = (best[place - 1], at[place - 1]);
            (best[place], at[place]) = (row[i], i);
        }
    }

    private static CpuView Floats(CpuView view) => view.Type == ScalarType.F32
        ? view
        : throw new InvalidOperationException($"top-k takes {view.Name} as F32, it is {view.Type}");
}
