using Legato.Runtime.Cpu;
using Legato.Runtime.Plans;

namespace Legato.Runtime.Cuda;

/// <summary>
/// Serial loops whose iterations touch different elements become grid loops: what a processor walks in order for its
/// caches is work for many blocks here.
/// </summary>
internal static class IndependentLoops
{
    /// <summary>The kernel with its outermost loops in the grid, as far down as their iterations are shown to be independent.</summary>
    public static Kernel ToGrid(Kernel kernel, IReadOnlyList<OperandMemory> memory)
    {
        Statement[] names = [.. kernel.Body.TakeWhile(s => s is Statement.Let)];
        if (kernel.Body.Count != names.Length + 1 || kernel.Body[^1] is not Statement.Loop outermost)
            return kernel;
        return kernel with { Body = [.. names, Promoted(kernel, memory, outermost)] };
    }

    private static Statement.Loop Promoted(Kernel kernel, IReadOnlyList<OperandMemory> memory, Statement.Loop loop)
    {
        if (loop.Kind == LoopKind.Vector)
            return loop;
        if (loop.Kind == LoopKind.Serial && !IsIndependent(kernel, memory, loop))
            return loop;
        return loop with { Kind = LoopKind.Grid, Body = Inside(loop) is { } inner && Promoted(kernel, memory, inner) is { Kind: LoopKind.Grid } grid ? [grid] : loop.Body };
    }

    /// <summary>The loop that a loop's body comes down to: what is named before it may as well be named in each of its iterations.</summary>
    private static Statement.Loop? Inside(Statement.Loop loop)
    {
        Statement[] names = [.. loop.Body.TakeWhile(s => s is Statement.Let)];
        return loop.Body.Count == names.Length + 1 && loop.Body[^1] is Statement.Loop { Kind: not LoopKind.Vector } inner
            ? inner with { Body = [.. names, .. inner.Body] }
            : null;
    }

    private static bool IsIndependent(Kernel kernel, IReadOnlyList<OperandMemory> memory, Statement.Loop loop)
    {
        if (!loop.From.IsLaunchConstant(kernel) || !loop.To.IsLaunchConstant(kernel))
            return false;
        Statement[] inside = [.. loop.Body.SelectMany(s => s.Tree())];
        HashSet<string> own = [.. inside.OfType<Statement.Accumulator>().Select(a => a.Name)];
        if (inside.OfType<Statement.Accumulate>().Any(a => !own.Contains(a.Name)))
            return false;
        Statement.Loop[] loops = [.. inside.OfType<Statement.Loop>()];
        // Loops inside that begin elsewhere in each iteration may reach any element.
        string[] varying = [loop.Variable, .. loops.Select(l => l.Variable), .. inside.OfType<Statement.Let>().Select(l => l.Name)];
        if (loops.Any(l => varying.Any(l.From.Mentions) || l.From.AllLoads().Any()))
            return false;
        Expr.Load[] loads = [.. inside.SelectMany(s => s.Expressions()).SelectMany(e => e.AllLoads())];
        foreach (Statement.Store store in inside.OfType<Statement.Store>())
        {
            int alias = memory[store.Operand].Alias;
            bool isShared = loads.Any(l => memory[l.Operand].Alias == alias && !l.At.Equals(store.At))
                || inside.OfType<Statement.Store>().Any(s => memory[s.Operand].Alias == alias && !s.At.Equals(store.At));
            if (isShared || !Separates(store.At, loop, loops))
                return false;
        }
        return true;
    }

    /// <summary>Whether a step of the loop moves an index beyond all that the loops inside reach.</summary>
    private static bool Separates(Plans.Index index, Statement.Loop loop, Statement.Loop[] inside)
    {
        if (index.StrideOf(loop.Variable) is not (long stride and > 0))
            return false;
        long reach = 0;
        foreach (IndexTerm term in index.Terms)
            switch (term.Value)
            {
                case Expr.Variable variable when variable.Name == loop.Variable:
                    break;
                case Expr.Variable variable when inside.FirstOrDefault(l => l.Variable == variable.Name) is { } inner:
                    if (inner.Length() is not Expr.Integer length || !term.Stride.IsConstant)
                        return false;
                    reach += Math.Max(0, length.Value - 1) * term.Stride.Constant;
                    break;
                case var value when inside.Any(l => value.Mentions(l.Variable)) || value.AllLoads().Any():
                    return false;
            }
        return reach < stride;
    }
}
