using Legato.Runtime.Plans;

namespace Legato.Runtime.Cuda;

/// <summary>
/// This part: vector loops. A thread takes neighbouring elements, as many as one access moves; it fetches all that the
/// loop reads of them, computes element by element, and writes.
/// </summary>
internal sealed partial class CudaKernelWriter
{
    /// <summary>Sweeps up to so many are written out, so that their loads are under way together.</summary>
    private const int MostUnrolled = 8;

    private void WriteVectorLoop(Statement.Loop loop, KeptVectors kept)
    {
        VectorLoop vector = VectorLoop.Of(loop, memory);
        int width = schedule.Widths[loop];
        kept.Declare(vector);
        text.Open("");
        foreach (Expr.Load load in vector.Invariant)
            Fetch(load, "once", expressions.Of(load));
        string[] sums = [.. loop.Body.OfType<Statement.Accumulate>().Select(a => a.Name).Distinct()];
        var partial = new Dictionary<string, string>();
        foreach (string sum in sums)
        {
            string name = partial[sum] = names.Fresh("partial");
            text.Line($"float {name}[{width}];");
            text.Line("#pragma unroll");
            text.Line($"for (int v = 0; v < {width}; v++) {name}[v] = {Neutral(reductions[sum])};");
        }
        int closings = OpenSweeps(loop, width, kept.CountsSweeps);
        WriteSweep(vector, width, partial, kept);
        for (int i = 0; i < closings; i++)
            text.Close();
        if (!loop.To.IsMultiple(width))
            WriteTail(vector, width, partial);
        WriteReduction(sums, partial, width);
        foreach (Expr.Load load in vector.Invariant)
            expressions.Forget(load);
        text.Close();
    }

    /// <summary>The number of sweeps over a loop that are written out; 0 where it isn't known, or they are many.</summary>
    private int Unrolled(Statement.Loop loop) => Sweeps(loop) is var sweeps and <= MostUnrolled ? sweeps : 0;

    /// <summary>The number of sweeps over a loop whose length is known; else 0.</summary>
    private int Sweeps(Statement.Loop loop)
    {
        if (loop.Length() is not Expr.Integer length)
            return 0;
        // The blocks of a row are as many as one sweep takes.
        if (SharesColumns)
            return schedule.Sweep(loop) == schedule.ChunkColumns ? 1 : 0;
        return (int)((length.Value + schedule.Sweep(loop) - 1) / schedule.Sweep(loop));
    }

    /// <summary>Opens the loop over a thread's vectors; how many braces that took.</summary>
    private int OpenSweeps(Statement.Loop loop, int width, bool counts = false)
    {
        CudaValue from = expressions.Of(loop.From), to = loop.To.IsMultiple(width)
            ? expressions.Of(loop.To)
            : CudaExpressions.Constant(((Expr.Integer)loop.To).Value / width * width);
        IntegerRange range = RangeOf(loop);
        string type = range.High < int.MaxValue / 2 ? "int" : "long long", position = names.Fresh("at");
        string own = SharesColumns ? $"((({type})chunk * {schedule.Group} + lane) * {width})" : $"(lane * {width})";
        string start = CudaExpressions.Integers(Operation.Add, from, CudaValue.Integer(own, new IntegerRange(0, 1 << 16))).Text;
        expressions.Define(loop.Variable, CudaValue.Integer(position, range with { High = type == "int" ? range.High : long.MaxValue / 2 }));
        if (Unrolled(loop) is var sweeps and > 0)
        {
            bool isExact = loop.From is Expr.Integer && ((Expr.Integer)loop.Length()!).Value % ((long)sweeps * schedule.Sweep(loop)) == 0
                && (schedule.Columns is null || schedule.Columns.Equals(loop.Length()));
            text.Line("#pragma unroll");
            text.Open($"for (int sweep = 0; sweep < {sweeps}; sweep++)");
            text.Line($"const {type} {position} = {start} + sweep * {schedule.Sweep(loop)};");
            if (isExact)
                return 1;
            text.Open($"if ({position} < {to.Text})");
            return 2;
        }
        if (SharesColumns)
        {
            text.Open($"for ({type} {position} = {start}; {position} < {to.Text}; {position} += ({type})chunks * {schedule.Sweep(loop)})");
            return 1;
        }
        text.Line("#pragma unroll 4");
        (string number, string next) = counts ? (", sweep = 0", ", sweep++") : ("", "");
        text.Open($"for ({type} {position} = {start}{number}; {position} < {to.Text}; {position} += {schedule.Sweep(loop)}{next})");
        return 1;
    }

    /// <summary>The elements beyond the last whole vector, one a thread.</summary>
    private void WriteTail(VectorLoop vector, int width, Dictionary<string, string> partial)
    {
        long end = ((Expr.Integer)vector.Loop.To).Value, start = end / width * width;
        string position = names.Fresh("at");
        text.Open($"if ({(SharesColumns ? "chunk == 0 && " : "")}lane < {end - start})");
        text.Line($"const int {position} = {start} + lane;");
        expressions.Define(vector.Loop.Variable, CudaValue.Integer(position, RangeOf(vector.Loop)));
        WriteSweep(vector, 1, partial, null);
        text.Close();
    }

    private void WriteSweep(VectorLoop vector, int width, Dictionary<string, string> partial, KeptVectors? kept)
    {
        Statement.Loop loop = vector.Loop;
        CudaValue position = expressions.Of(new Expr.Variable(loop.Variable));
        var vectors = new List<(Expr.Load Load, string Name)>();
        foreach (Expr.Load load in vector.Contiguous)
            vectors.Add((load, FetchVector(load, width, kept)));
        var stores = new Dictionary<Statement.Store, string>(ReferenceEqualityComparer.Instance);
        foreach (Statement.Store store in loop.Body.OfType<Statement.Store>().Where(vector.IsContiguous))
        {
            string? held = CarriedBy(store) ?? (kept is { CountsSweeps: false } ? kept.OfStore(vector, store) : null);
            stores[store] = held ?? names.Fresh("out");
            if (held is null)
                text.Line($"Vec<{CudaTypes.Name(kernel.Operands[store.Operand].Type)}, {width}> {stores[store]};");
        }

        text.Line("#pragma unroll");
        text.Open($"for (int v = 0; v < {width}; v++)");
        foreach ((Expr.Load load, string name) in vectors)
            expressions.Fetch(load, CudaExpressions.Widened(kernel.Operands[load.Operand].Type, $"{name}.e[v]"));
        expressions.Define(loop.Variable, CudaValue.Integer($"({position.Text} + v)", position.Range));
        foreach (Statement statement in loop.Body)
            WriteElement(statement, partial, stores);
        text.Close();

        foreach ((Expr.Load load, _) in vectors)
            expressions.Forget(load);
        expressions.Define(loop.Variable, position);
        foreach ((Statement.Store store, string name) in stores.Where(s => CarriedBy(s.Key) is null))
        {
            if (kept is { CountsSweeps: true } && kept.OfStore(vector, store) is { } place)
                text.Line($"{place} = {name};");
            text.Line($"store(p{store.Operand} + {expressions.Offset(store.At).Text}, {name});");
        }
    }

    private string FetchVector(Expr.Load load, int width, KeptVectors? kept)
    {
        if (carried.TryGetValue(load, out string? sum))
            return sum + "[sweep]";
        string? ready = kept?.Ready(load), filled = kept?.ToFill(load);
        // What lies in shared memory is moved whole.
        if ((ready ?? filled) is { } place && !kept!.CountsSweeps)
        {
            if (ready is null)
                text.Line($"{place} = {Fetched(load, width)};");
            return place;
        }
        string fresh = names.Fresh("in");
        text.Line($"const Vec<{CudaTypes.Name(kernel.Operands[load.Operand].Type)}, {width}> {fresh} = {ready ?? Fetched(load, width)};");
        if (filled is not null)
            text.Line($"{filled} = {fresh};");
        return fresh;
    }

    private string Fetched(Expr.Load load, int width) => $"fetch<{width}>(p{load.Operand} + {expressions.Offset(load.At).Text})";

    private void WriteElement(Statement statement, Dictionary<string, string> partial, Dictionary<Statement.Store, string> stores)
    {
        switch (statement)
        {
            case Statement.Accumulate accumulate:
                string sum = partial[accumulate.Name] + "[v]";
                text.Line($"{sum} = {Joined(accumulate.Name, sum, expressions.Of(accumulate.Value).Text)};");
                break;
            case Statement.Store store when stores.TryGetValue(store, out string? name):
                text.Line($"{name}.e[v] = {Narrowed(store)};");
                break;
            case Statement.Store store:
                text.Line($"{Place(store)} = {Narrowed(store)};");
                expressions.Forget(load => memory[load.Operand].Alias == memory[store.Operand].Alias);
                break;
            default:
                Write(statement);
                break;
        }
    }

    /// <summary>Joins what the threads have gathered, in an order that depends on their number alone.</summary>
    private void WriteReduction(string[] sums, Dictionary<string, string> partial, int width)
    {
        if (sums.Length == 0)
            return;
        foreach (string sum in sums)
        {
            text.Line("#pragma unroll");
            text.Line($"for (int v = 1; v < {width}; v++) {partial[sum]}[0] = {Joined(sum, $"{partial[sum]}[0]", $"{partial[sum]}[v]")};");
            if (schedule.Group > 1)
                text.Line($"{partial[sum]}[0] = {Collective(sum)}_of_warp<{Math.Min(32, schedule.Group)}>({partial[sum]}[0], {(IsBlockwide ? "0xffffffffu" : Mask)});");
        }
        if (IsBlockwide)
        {
            reducedAtOnce = Math.Max(reducedAtOnce, sums.Length);
            for (int i = 0; i < sums.Length; i++)
                text.Line($"if (threadIdx.x % 32 == 0) slots[turn][{i}][threadIdx.x / 32] = {partial[sums[i]]}[0];");
            text.Line("__syncthreads();");
            for (int i = 0; i < sums.Length; i++)
                text.Line($"{partial[sums[i]]}[0] = {Collective(sums[i])}_of_slots<{schedule.Group / 32}>(slots[turn][{i}]);");
            text.Line("turn ^= 1;");
        }
        foreach (string sum in sums)
        {
            string whole = expressions.Of(new Expr.Variable(sum)).Text;
            text.Line($"{whole} = {Joined(sum, whole, $"{partial[sum]}[0]")};");
        }
    }

    private string Collective(string sum) => reductions[sum] == Reduction.Sum ? "sum" : "maximum";

    private void Fetch(Expr.Load load, string prefix, CudaValue value)
    {
        CudaValue named = value with { Text = names.Fresh(prefix) };
        text.Line($"const {named.Type} {named.Text} = {value.Text};");
        expressions.Fetch(load, named);
    }
}
