using Legato.Runtime.Plans;

namespace Legato.Runtime.Cuda;

/// <summary>Spells <see cref="ScatterSums"/> in CUDA C++: a block for eight rows of the target.</summary>
internal static class CudaScatterText
{
    public const string Function = "scatter_sums";

    public const int Threads = 256, TargetRows = 8;

    /// <summary>The text, and the sizes that follow the operands among its parameters.</summary>
    public static (string Text, IReadOnlyList<Extent> Extents) Write(Kernel kernel, ScatterSums sums, Func<Extent, IntegerRange> bounds)
    {
        var expressions = new CudaExpressions(kernel.Operands, bounds);
        var names = new CudaNames();
        var body = new CudaText();
        ScalarType type = kernel.Operands[sums.Store.Operand].Type;
        CudaValue count = expressions.Of(sums.Rows.To), columns = expressions.Of(sums.Columns.To);
        IntegerRange rows = new(0, Math.Max(0, count.Range.High - 1));

        body.Line("__shared__ int sources[256], targets[256], counts[8];");
        body.Line($"const int top = blockIdx.x * {TargetRows};");
        body.Open($"for (int start = 0; start < {count.Text}; start += {Threads})");
        body.Line("int source = start + threadIdx.x, target = -1;");
        body.Open($"if (source < {count.Text})");
        Name("source");
        body.Line($"target = (int)({expressions.Of(sums.Target).Text});");
        body.Close();
        body.Line($"const bool isMine = target >= top && target < top + {TargetRows};");
        body.Line("if (!__syncthreads_or(isMine)) continue;");
        body.Line("const unsigned votes = __ballot_sync(0xffffffffu, isMine);");
        body.Line("if (threadIdx.x % 32 == 0) counts[threadIdx.x / 32] = __popc(votes);");
        body.Line("__syncthreads();");
        body.Line("int place = __popc(votes & ((1u << (threadIdx.x % 32)) - 1)), found = 0;");
        body.Line("for (int w = 0; w < 8; w++) { if (w < threadIdx.x / 32) place += counts[w]; found += counts[w]; }");
        body.Line("if (isMine) { sources[place] = source; targets[place] = target - top; }");
        body.Line("__syncthreads();");
        body.Open($"for (int t = 0; t < {TargetRows}; t++)");
        body.Line("bool isHit = false;");
        body.Line("for (int i = 0; i < found; i++) isHit |= targets[i] == t;");
        body.Line("if (!isHit) continue;");
        body.Open($"for (int column = threadIdx.x; column < {columns.Text}; column += {Threads})");
        string address = $"p{sums.Store.Operand}[(long long)(top + t) * {sums.Stride} + column]";
        body.Line($"float sum = {CudaExpressions.Widened(type, address).Text};");
        body.Line("#pragma unroll 4");
        body.Open("for (int i = 0; i < found; i++)");
        body.Line("if (targets[i] != t) continue;");
        expressions.Define(sums.Columns.Variable, CudaValue.Integer("column", new IntegerRange(0, Math.Max(0, columns.Range.High - 1))));
        Name("sources[i]");
        foreach (Statement.Let let in sums.Columns.Body.OfType<Statement.Let>())
            Define(let);
        body.Line($"sum = sum + {expressions.Of(((Expr.Apply)sums.Store.Value).Operands[1]).Text};");
        body.Close();
        body.Line($"{address} = {(type == ScalarType.F32 ? "sum" : $"narrow<{CudaTypes.Name(type)}>(sum)")};");
        body.Close();
        body.Close();
        body.Line("__syncthreads();");
        body.Close();

        var text = new CudaText();
        IEnumerable<string> parameters = kernel.Operands
            .Select((o, i) => $"{(o.Access == Access.Read ? "const " : "")}{CudaTypes.Name(o.Type)}* p{i}")
            .Concat(expressions.Extents.Select((_, i) => $"const long long a{i}"));
        text.Open($"extern \"C\" __global__ void __launch_bounds__({Threads}) {Function}({string.Join(", ", parameters)})");
        for (int i = 0; i < expressions.Extents.Count; i++)
        {
            CudaValue extent = expressions.OfExtent(expressions.Extents[i]);
            text.Line($"const {extent.Type} {extent.Text} = ({extent.Type})a{i};");
        }
        text.Append(body);
        text.Close();
        return (text.ToString(), expressions.Extents);

        void Name(string source)
        {
            expressions.Define(sums.Rows.Variable, CudaValue.Integer(source, rows));
            foreach (Statement.Let let in sums.Names)
                Define(let);
        }

        void Define(Statement.Let let)
        {
            CudaValue value = expressions.Of(let.Value), named = value with { Text = names.Fresh(let.Name) };
            body.Line($"const {named.Type} {named.Text} = {value.Text};");
            expressions.Define(let.Name, named);
        }
    }
}
