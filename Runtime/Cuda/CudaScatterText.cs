using Legato.Runtime.Plans;

namespace Legato.Runtime.Cuda;

/// <summary>
/// Spells <see cref="ScatterSums"/> in CUDA C++: a block for some rows of the target. It looks through the whole index,
/// notes what falls on its rows, puts that in the order of the rows, and adds it up row by row.
/// </summary>
internal static class CudaScatterText
{
    public const string Function = "scatter_sums";

    public const int Threads = 256, TargetRows = 64;

    /// <summary>Entries of the index that a thread looks at together, and those that a block notes before it adds them up.</summary>
    private const int Together = 4, Noted = 4 * Threads * Together / 2;

    /// <summary>The text, and the sizes that follow the operands among its parameters.</summary>
    /// <param name="memory">What is known of each operand's memory.</param>
    public static (string Text, IReadOnlyList<Extent> Extents) Write(
        Kernel kernel, ScatterSums sums, IReadOnlyList<OperandMemory> memory, Func<Extent, IntegerRange> bounds)
    {
        var expressions = new CudaExpressions(kernel.Operands, bounds);
        var names = new CudaNames();
        var body = new CudaText();
        CudaValue count = expressions.Of(sums.Rows.To), columns = expressions.Of(sums.Columns.To);
        IntegerRange rows = new(0, Math.Max(0, count.Range.High - 1));

        body.Line($"__shared__ int sources[{Noted}], targets[{Noted}], sorted[{Noted}], begins[{TargetRows + 1}], counts[{Threads / 32}];");
        body.Line($"const int top = blockIdx.x * {TargetRows}, warp = threadIdx.x / 32;");
        body.Line("int found = 0;");
        body.Open($"for (int start = 0; start < {count.Text}; start += {Threads * Together})");
        body.Line($"int mine[{Together}], hits = 0;");
        body.Line("#pragma unroll");
        body.Open($"for (int j = 0; j < {Together}; j++)");
        body.Line($"const int source = start + threadIdx.x * {Together} + j;");
        body.Line("mine[j] = -1;");
        body.Open($"if (source < {count.Text})");
        Name("source");
        body.Line($"mine[j] = (int)({expressions.Of(sums.Target).Text}) - top;");
        body.Close();
        body.Line($"if (mine[j] >= {TargetRows}) mine[j] = -1;");
        body.Line("hits += mine[j] >= 0;");
        body.Close();
        body.Line("int upto = hits;");
        body.Line("#pragma unroll");
        body.Line("for (int o = 1; o < 32; o *= 2) { const int below = __shfl_up_sync(0xffffffffu, upto, o); if (threadIdx.x % 32 >= o) upto += below; }");
        body.Line("if (threadIdx.x % 32 == 31) counts[warp] = upto;");
        body.Line("__syncthreads();");
        body.Line("int place = found + upto - hits;");
        body.Line("#pragma unroll");
        body.Line($"for (int w = 0; w < {Threads / 32}; w++) {{ if (w < warp) place += counts[w]; found += counts[w]; }}");
        body.Line("#pragma unroll");
        body.Line($"for (int j = 0; j < {Together}; j++) if (mine[j] >= 0) {{ sources[place] = start + threadIdx.x * {Together} + j; targets[place++] = mine[j]; }}");
        body.Line("__syncthreads();");
        body.Line($"if (found == 0 || found + {Threads * Together} <= {Noted} && start + {Threads * Together} < {count.Text}) continue;");
        WriteOrder();
        WriteSums();
        body.Line("found = 0;");
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

        // A thread for each row of the target gathers what falls on it, in the order of the index.
        void WriteOrder()
        {
            body.Line("int own = 0;");
            body.Line($"if (threadIdx.x < {TargetRows}) {{ for (int i = 0; i < found; i++) own += targets[i] == threadIdx.x; begins[threadIdx.x + 1] = own; }}");
            body.Line("__syncthreads();");
            body.Line($"if (threadIdx.x == 0) {{ begins[0] = 0; for (int t = 0; t < {TargetRows}; t++) begins[t + 1] += begins[t]; }}");
            body.Line("__syncthreads();");
            body.Line($"if (threadIdx.x < {TargetRows}) {{ int at = begins[threadIdx.x]; for (int i = 0; i < found; i++) if (targets[i] == threadIdx.x) sorted[at++] = sources[i]; }}");
            body.Line("__syncthreads();");
        }

        void WriteSums()
        {
            int width = VectorLoop.Widths([sums.Columns], kernel, memory)[sums.Columns];
            if (!sums.Columns.To.IsMultiple(width))
                width = 1;
            long vectors = (columns.Range.High + width - 1) / width;
            int group = (int)Math.Clamp((vectors + 31) / 32 * 32, 32, Threads), groups = Threads / group;
            string type = CudaTypes.Name(kernel.Operands[sums.Store.Operand].Type);
            body.Open($"if (threadIdx.x < {group * groups}) for (int t = threadIdx.x / {group}; t < {TargetRows}; t += {groups})");
            body.Line("if (begins[t] == begins[t + 1]) continue;");
            body.Open($"for (int column = threadIdx.x % {group} * {width}; column < {columns.Text}; column += {group * width})");
            string address = $"p{sums.Store.Operand} + (long long)(top + t) * {sums.Stride} + column";
            body.Line($"Vec<{type}, {width}> total = fetch<{width}>({address});");
            body.Line($"float sum[{width}];");
            body.Line("#pragma unroll");
            body.Line($"for (int v = 0; v < {width}; v++) sum[v] = widen(total.e[v]);");
            body.Line("#pragma unroll 8");
            body.Open("for (int i = begins[t]; i < begins[t + 1]; i++)");
            Name("sorted[i]");
            var position = new IntegerRange(0, Math.Max(0, columns.Range.High - 1));
            expressions.Define(sums.Columns.Variable, CudaValue.Integer("column", position));
            foreach (Expr.Load load in VectorLoop.Of(sums.Columns, memory).Contiguous.Where(l => l.Operand != sums.Store.Operand))
            {
                ScalarType kind = kernel.Operands[load.Operand].Type;
                string name = names.Fresh("in");
                body.Line($"const Vec<{CudaTypes.Name(kind)}, {width}> {name} = fetch<{width}>(p{load.Operand} + {expressions.Offset(load.At).Text});");
                expressions.Fetch(load, CudaExpressions.Widened(kind, $"{name}.e[v]"));
            }
            body.Line("#pragma unroll");
            body.Open($"for (int v = 0; v < {width}; v++)");
            expressions.Define(sums.Columns.Variable, CudaValue.Integer("(column + v)", position));
            foreach (Statement.Let let in sums.Columns.Body.OfType<Statement.Let>())
                Define(let);
            body.Line($"sum[v] = sum[v] + {expressions.Of(((Expr.Apply)sums.Store.Value).Operands[1]).Text};");
            body.Close();
            body.Close();
            body.Line("#pragma unroll");
            body.Line($"for (int v = 0; v < {width}; v++) total.e[v] = narrow<{type}>(sum[v]);");
            body.Line($"store({address}, total);");
            body.Close();
            body.Close();
        }

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
