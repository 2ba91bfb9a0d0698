using Legato.Runtime.Plans;

namespace Legato.Runtime.Cuda;

/// <summary>This part: sums over rows that a thread carries in registers, instead of through memory row by row.</summary>
internal sealed partial class CudaKernelWriter
{
    /// <summary>Bytes of registers that a thread may give to the sums of one loop.</summary>
    private const int CarriedBudget = 256;

    /// <summary>Rows whose loads are under way together, where nothing else makes the threads wait.</summary>
    private const int RowsAtOnce = 8;

    private readonly Dictionary<Expr.Load, string> carried = [];

    /// <summary>What the loops of a body carry in registers: no more than there is room for.</summary>
    private CarriedVector[] Carried(IReadOnlyList<Statement> body)
    {
        int spent = 0;
        return [.. CarriedVector.Of(body, memory).Where(Fits)];

        bool Fits(CarriedVector vector)
        {
            int width = schedule.Widths[vector.Columns], bytes = Unrolled(vector.Columns) * width * sizeof(float);
            if (bytes == 0 || spent + bytes > CarriedBudget || !vector.Columns.To.IsMultiple(width) || kernel.Operands[vector.Element.Operand].Type != ScalarType.F32)
                return false;
            spent += bytes;
            return true;
        }
    }

    /// <summary>The register vectors, at the present sweep, that a store of a carried element leaves its value in.</summary>
    private string? CarriedBy(Statement.Store store) =>
        carried.TryGetValue(new Expr.Load(store.Operand, store.At), out string? name) ? name + "[sweep]" : null;

    private void WriteCarrying(Statement.Loop rows, CarriedVector[] vectors)
    {
        foreach (CarriedVector vector in vectors)
        {
            int width = schedule.Widths[vector.Columns], sweeps = Unrolled(vector.Columns);
            string name = names.Fresh("carried");
            text.Line($"Vec<float, {width}> {name}[{sweeps}];");
            WriteSweeps(vector, at => vector.Start is { } start
                ? $"for (int v = 0; v < {width}; v++) {name}[sweep].e[v] = {expressions.Of(start).Text};"
                : $"{name}[sweep] = fetch<{width}>({at});");
            carried[vector.Element] = name;
        }
        bool waits = rows.Tree().Any(s => s is Statement.Accumulate);
        if (!waits)
            text.Line($"#pragma unroll {RowsAtOnce}");
        WriteSerialLoop(rows, waits);
        foreach (CarriedVector vector in vectors)
        {
            WriteSweeps(vector, at => $"store({at}, {carried[vector.Element]}[sweep]);");
            carried.Remove(vector.Element);
        }
    }

    /// <summary>A line for each vector of a thread's, given its address.</summary>
    private void WriteSweeps(CarriedVector vector, Func<string, string> line)
    {
        int closings = OpenSweeps(vector.Columns, schedule.Widths[vector.Columns]);
        text.Line(line($"p{vector.Element.Operand} + {expressions.Offset(vector.Element.At).Text}"));
        for (int i = 0; i < closings; i++)
            text.Close();
    }

    /// <summary>Asks for the next row's vectors, so that they are near when this row's threads have waited for each other.</summary>
    private void WriteLookAhead(Statement.Loop rows, CudaValue index, CudaValue to)
    {
        string[] names = [rows.Variable, .. rows.Body.OfType<Statement.Let>().Select(l => l.Name)];
        Statement.Let[] places = [.. rows.Body.TakeWhile(s => s is Statement.Let let && !let.Value.AllLoads().Any()).Cast<Statement.Let>()];
        string[] unknown = [.. names.Skip(1).Except(places.Select(l => l.Name))];
        var asked = new HashSet<Expr.Load>();
        text.Open($"if ({index.Text} + 1 < {to.Text})");
        expressions.Define(rows.Variable, index with { Text = $"({index.Text} + 1)" });
        foreach (Statement.Let place in places)
            Write(place);
        foreach (Statement.Loop loop in rows.Body.Where(s => s.IsVector()).Cast<Statement.Loop>().Where(l => Unrolled(l) > 0))
            foreach (Expr.Load load in VectorLoop.Of(loop, memory).Contiguous)
            {
                bool isNext = kernel.Operands[load.Operand].Access == Access.Read && names.Any(load.Mentions) && !unknown.Any(load.Mentions);
                if (!isNext || !asked.Add(load))
                    continue;
                int closings = OpenSweeps(loop, schedule.Widths[loop]);
                text.Line($"prefetch(p{load.Operand} + {expressions.Offset(load.At).Text});");
                for (int i = 0; i < closings; i++)
                    text.Close();
            }
        text.Close();
    }
}
