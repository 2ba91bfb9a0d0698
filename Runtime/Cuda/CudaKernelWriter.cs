using Legato.Runtime.Interpreter;
using Legato.Runtime.Plans;

namespace Legato.Runtime.Cuda;

/// <summary>Spells a kernel in CUDA C++ under its schedule. This part: the frame, and which row a thread works on.</summary>
internal sealed partial class CudaKernelWriter
{
    private readonly Kernel kernel;
    private readonly IReadOnlyList<OperandMemory> memory;
    private readonly CudaSchedule schedule;
    private readonly CudaExpressions expressions;
    private readonly CudaNames names = new();
    private readonly Dictionary<string, Reduction> reductions = [];
    private CudaText text = new();
    private readonly int mostShared;
    private int reducedAtOnce, sharedBytes;

    private CudaKernelWriter(Kernel kernel, IReadOnlyList<OperandMemory> memory, CudaSchedule schedule, Func<Extent, IntegerRange> bounds, int mostShared)
    {
        (this.kernel, this.memory, this.schedule, this.mostShared) = (kernel, memory, schedule, mostShared);
        expressions = new CudaExpressions(kernel.Operands, bounds);
    }

    /// <param name="memory">What is known of each operand's memory.</param>
    /// <param name="bounds">The values that a size may have.</param>
    /// <param name="mostShared">Bytes of shared memory that a block may take.</param>
    public static CudaKernelText Write(Kernel kernel, IReadOnlyList<OperandMemory> memory, Func<Extent, IntegerRange> bounds, int mostShared)
    {
        CudaSchedule schedule = CudaSchedule.Of(kernel, memory, extent => bounds(extent).High);
        return new CudaKernelWriter(kernel, memory, schedule, bounds, mostShared).Write();
    }

    private bool SharesColumns => schedule.Columns is not null;

    /// <summary>Whether the threads of a row are more than a warp, and so a block.</summary>
    private bool IsBlockwide => schedule.Group > 32;

    private CudaKernelText Write()
    {
        WriteRow();
        WriteAll(schedule.Body);
        CudaText body = text;
        text = new CudaText(depth: 1);
        WriteHead();
        text.Append(body);
        return new CudaKernelText([.. Parameters()], Bounds, text.ToString(), expressions.Extents, schedule, sharedBytes);
    }

    private IEnumerable<(string Type, string Name)> Parameters()
    {
        const string Size = "const long long";
        IEnumerable<(string, string)> parameters = kernel.Operands
            .Select((operand, i) => ($"{(operand.Access == Access.Read ? "const " : "")}{CudaTypes.Name(operand.Type)}*{(IsAlone(i) ? " __restrict__" : "")}", $"p{i}"))
            .Concat(expressions.Extents.Select((_, i) => (Size, $"a{i}")));
        return SharesColumns ? parameters.Append((Size, "chunks")) : parameters;
    }

    private void WriteHead()
    {
        for (int i = 0; i < expressions.Extents.Count; i++)
        {
            CudaValue extent = expressions.OfExtent(expressions.Extents[i]);
            text.Line($"const {extent.Type} {extent.Text} = ({extent.Type})a{i};");
        }
        if (sharedBytes > 0)
            text.Line("extern __shared__ __align__(16) unsigned char shared[];");
        if (reducedAtOnce > 0 && IsBlockwide)
        {
            text.Line($"__shared__ float slots[2][{reducedAtOnce}][{schedule.Group / 32}];");
            text.Line("int turn = 0;");
        }
    }

    /// <summary>Takes shared memory: where it begins; null where there is too little left.</summary>
    private int? AddShared(int bytes)
    {
        if (sharedBytes + bytes > mostShared)
            return null;
        sharedBytes += bytes;
        return sharedBytes - bytes;
    }

    /// <summary>The threads of a block; of large ones that wait for each other a multiprocessor is to hold two.</summary>
    private string Bounds => reducedAtOnce > 0 && schedule.Threads == CudaSchedule.LargestBlock ? $"{schedule.Threads}, 2" : $"{schedule.Threads}";

    /// <summary>No other operand lies in its memory.</summary>
    private bool IsAlone(int operand) => memory.Count(m => m.Alias == memory[operand].Alias) == 1;

    private void WriteRow()
    {
        text.Line(schedule.Rows == 1 ? "const int lane = threadIdx.x;" : $"const int lane = threadIdx.x % {schedule.Group};");
        if (schedule.Group is > 1 and < 32)
            text.Line($"const unsigned mask = {(1u << schedule.Group) - 1}u << (threadIdx.x % 32 / {schedule.Group} * {schedule.Group});");
        if (SharesColumns)
            text.Line($"const int chunk = {(schedule.Grid.Count == 0 ? "blockIdx.x" : "blockIdx.x % (unsigned)chunks")};");
        if (schedule.Group > 1 || SharesColumns)
            text.Line($"const bool first = lane == 0{(SharesColumns ? " && chunk == 0" : "")};");
        if (schedule.Grid.Count == 0)
            return;

        CudaValue[] counts = [.. schedule.Grid.Select(l => CudaExpressions.Integers(Operation.Subtract, expressions.Of(l.To), expressions.Of(l.From)))];
        CudaValue total = counts.Aggregate((x, y) => CudaExpressions.Integers(Operation.Multiply, x, y));
        string type = total.Range.High < int.MaxValue - schedule.Threads ? "int" : "long long";
        string block = SharesColumns ? "blockIdx.x / (unsigned)chunks" : "blockIdx.x";
        text.Line(schedule.Rows == 1
            ? $"{type} row = ({type})({block});"
            : $"{type} row = ({type})({block}) * {schedule.Rows} + threadIdx.x / {schedule.Group};");
        if (schedule.Rows > 1)
            text.Line($"if (row >= {total.Text}) return;");
        for (int i = schedule.Grid.Count - 1; i >= 0; i--)
        {
            Statement.Loop loop = schedule.Grid[i];
            CudaValue from = expressions.Of(loop.From);
            var position = CudaValue.Integer(i == 0 ? "row" : $"(row % {counts[i].Text})", new IntegerRange(0, Math.Max(0, counts[i].Range.High - 1)));
            Name(loop.Variable, CudaExpressions.Integers(Operation.Add, from, position), RangeOf(loop));
            if (i > 0)
                text.Line($"row /= {counts[i].Text};");
        }
    }

    /// <summary>The values of a loop's variable.</summary>
    private IntegerRange RangeOf(Statement.Loop loop)
    {
        IntegerRange from = expressions.Of(loop.From).Range, to = expressions.Of(loop.To).Range;
        return new IntegerRange(from.Low, Math.Max(from.Low, to.High == long.MaxValue ? long.MaxValue : to.High - 1));
    }

    /// <summary>A constant of the text for a value.</summary>
    private CudaValue Name(string name, CudaValue value, IntegerRange? range = null)
    {
        CudaValue named = value with { Text = names.Fresh(name), Range = range ?? value.Range };
        text.Line($"const {named.Type} {named.Text} = {(named.Type == value.Type ? "" : $"({named.Type})")}{value.Text};");
        expressions.Define(name, named);
        return named;
    }

    private void WriteAll(IReadOnlyList<Statement> body)
    {
        var kept = new KeptVectors(this, body);
        ILookup<Statement.Loop, CarriedVector> sums = Carried(body).ToLookup<CarriedVector, Statement.Loop>(c => c.Rows, ReferenceEqualityComparer.Instance);
        foreach (Statement statement in body)
        {
            if (schedule.Barriers.Contains(statement))
                WriteBarrier();
            if (sums.Any(s => s.Any(c => ReferenceEquals(c.Clear, statement))))
                continue;
            if (statement.IsVector())
                WriteVectorLoop((Statement.Loop)statement, kept);
            else if (statement is Statement.Loop rows && sums.Contains(rows))
                WriteCarrying(rows, [.. sums[rows]]);
            else
                Write(statement);
            kept.Pass(statement);
        }
    }

    private void WriteBarrier()
    {
        if (IsBlockwide)
            text.Line("__syncthreads();");
        else if (schedule.Group > 1)
            text.Line($"__syncwarp({Mask});");
    }

    private string Mask => schedule.Group == 32 ? "0xffffffffu" : "mask";

    private void Write(Statement statement)
    {
        switch (statement)
        {
            case Statement.Loop loop:
                WriteSerialLoop(loop);
                break;
            case Statement.Let let:
                Name(let.Name, expressions.Of(let.Value));
                break;
            case Statement.Accumulator accumulator:
                string name = names.Fresh(accumulator.Name);
                text.Line($"float {name} = {Neutral(accumulator.Reduction)};");
                expressions.Define(accumulator.Name, CudaValue.Float(name));
                reductions[accumulator.Name] = accumulator.Reduction;
                break;
            case Statement.Accumulate accumulate:
                CudaValue sum = expressions.Of(new Expr.Variable(accumulate.Name));
                text.Line($"{sum.Text} = {Joined(accumulate.Name, sum.Text, expressions.Of(accumulate.Value).Text)};");
                break;
            case Statement.Store store:
                string guard = schedule.Group > 1 || SharesColumns ? "if (first) " : "";
                text.Line($"{guard}{Place(store)} = {Narrowed(store)};");
                break;
            default:
                throw new ArgumentOutOfRangeException(nameof(statement), statement.GetType().Name, "no known statement");
        }
    }

    private void WriteSerialLoop(Statement.Loop loop, bool looksAhead = false)
    {
        CudaValue from = expressions.Of(loop.From), to = expressions.Of(loop.To);
        IntegerRange range = RangeOf(loop);
        string variable = names.Fresh(loop.Variable), type = CudaValue.IntegerType(range with { High = Math.Min(range.High, long.MaxValue - 1) + 1 });
        text.Open($"for ({type} {variable} = {from.Text}; {variable} < {to.Text}; {variable}++)");
        CudaValue index = CudaValue.Integer(variable, range);
        if (looksAhead)
            WriteLookAhead(loop, index, to);
        expressions.Define(loop.Variable, index);
        WriteAll(loop.Body);
        text.Close();
    }

    private string Place(Statement.Store store) => $"p{store.Operand}[{expressions.Offset(store.At).Text}]";

    private string Narrowed(Statement.Store store)
    {
        CudaValue value = expressions.Of(store.Value);
        return kernel.Operands[store.Operand].Type switch
        {
            ScalarType.F32 => value.Text,
            ScalarType.I32 => value.Kind == ScalarKind.Integer && value.Type == "int" ? value.Text : $"(int)({value.Text})",
            var type => $"narrow<{CudaTypes.Name(type)}>({value.Text})",
        };
    }

    private string Joined(string accumulator, string x, string y) =>
        reductions[accumulator] == Reduction.Sum ? $"{x} + {y}" : $"maximum({x}, {y})";

    private static string Neutral(Reduction reduction) => reduction == Reduction.Sum ? "0.0f" : "-infinity()";
}
