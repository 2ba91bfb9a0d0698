using Legato.Runtime.Plans;

namespace Legato.Runtime.Cuda;

internal sealed partial class CudaKernelWriter
{
    /// <summary>
    /// Vectors that stay in registers, or of rows too long for that in shared memory, from one loop of a row to a later
    /// one over the same columns: what the first reads or writes, the next doesn't fetch again.
    /// </summary>
    private sealed class KeptVectors(CudaKernelWriter writer, IReadOnlyList<Statement> body)
    {
        /// <summary>Bytes of registers that a thread may give to them all, and to one of them where there is shared memory.</summary>
        private const int Budget = 192, LongVector = 64;

        private readonly Dictionary<Expr.Load, (string Vector, Statement.Loop Source)> kept = [];
        private readonly Dictionary<Expr.Load, string> filling = [];
        private Statement.Loop? current;
        private int spent;

        /// <summary>Whether this loop has vectors in shared memory, which it finds by the number of the sweep.</summary>
        public bool CountsSweeps { get; private set; }

        /// <summary>Declares what this loop is to keep.</summary>
        public void Declare(VectorLoop vector)
        {
            current = vector.Loop;
            filling.Clear();
            CountsSweeps = vector.Contiguous.Any(l => Ready(l) is not null);
            int sweeps = writer.Sweeps(vector.Loop);
            if (sweeps == 0)
                return;
            foreach (Expr.Load load in vector.Contiguous)
                if (Ready(load) is null && IsReadLater(load, null))
                    Keep(load, sweeps);
            foreach (Statement.Store store in vector.Loop.Body.OfType<Statement.Store>().Where(vector.IsContiguous))
            {
                var load = new Expr.Load(store.Operand, store.At);
                if (!vector.Contiguous.Contains(load) && IsReadLater(load, store))
                    Keep(load, sweeps);
            }
        }

        /// <summary>The vector, at the present sweep, of what an earlier loop has kept.</summary>
        public string? Ready(Expr.Load load) =>
            kept.TryGetValue(load, out (string Vector, Statement.Loop Source) found) && VectorLoop.AreAlike(found.Source, current!) ? found.Vector : null;

        /// <summary>The vector that a load of this loop is to fill.</summary>
        public string? ToFill(Expr.Load load) => filling.GetValueOrDefault(load);

        /// <summary>The vector that a store of this loop is to leave behind.</summary>
        public string? OfStore(VectorLoop vector, Statement.Store store)
        {
            var load = new Expr.Load(store.Operand, store.At);
            return vector.Contiguous.Contains(load) ? null : ToFill(load);
        }

        /// <summary>A statement has been written: what it stores is no longer as it was kept, but for what it kept itself.</summary>
        public void Pass(Statement statement)
        {
            int[] stored = [.. statement.Tree().OfType<Statement.Store>().Select(s => writer.memory[s.Operand].Alias).Distinct()];
            foreach (Expr.Load load in kept.Keys.Where(l => stored.Contains(writer.memory[l.Operand].Alias)).ToList())
                kept.Remove(load);
            if (ReferenceEquals(statement, current))
                foreach ((Expr.Load load, string vector) in filling)
                    kept[load] = (vector, current!);
            filling.Clear();
        }

        private void Keep(Expr.Load load, int sweeps)
        {
            ScalarType type = writer.kernel.Operands[load.Operand].Type;
            int width = writer.schedule.Widths[current!], bytes = sweeps * width * type.Size();
            string vector = $"Vec<{CudaTypes.Name(type)}, {width}>";
            if ((bytes > LongVector || sweeps > MostUnrolled) && writer.IsBlockwide && writer.AddShared(bytes * writer.schedule.Group) is { } offset)
            {
                string name = writer.names.Fresh("kept");
                writer.text.Line($"{vector}* const {name} = reinterpret_cast<{vector}*>(shared + {offset});");
                filling[load] = $"{name}[sweep * {writer.schedule.Group} + lane]";
                CountsSweeps = true;
            }
            else if (sweeps <= MostUnrolled && spent + bytes <= Budget)
            {
                spent += bytes;
                string name = writer.names.Fresh("kept");
                writer.text.Line($"{vector} {name}[{sweeps}];");
                filling[load] = name + "[sweep]";
            }
        }

        /// <summary>Whether a later loop over the same columns reads it before anything else writes there.</summary>
        private bool IsReadLater(Expr.Load load, Statement.Store? by)
        {
            int alias = writer.memory[load.Operand].Alias;
            bool isReached = false;
            foreach (Statement statement in body)
            {
                if (isReached && statement.IsVector() && VectorLoop.AreAlike((Statement.Loop)statement, current!)
                    && VectorLoop.Of((Statement.Loop)statement, writer.memory).Contiguous.Contains(load))
                    return true;
                isReached |= ReferenceEquals(statement, current);
                if (isReached && statement.Tree().OfType<Statement.Store>().Any(s => !ReferenceEquals(s, by) && writer.memory[s.Operand].Alias == alias))
                    return false;
            }
            return false;
        }
    }
}
