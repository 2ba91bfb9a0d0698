using System.Numerics;
using Legato.Runtime.Cpu;
using Legato.Runtime.Plans;

namespace Legato.Runtime.Cuda;

/// <summary>What is known of an operand's memory when its kernel is spelled.</summary>
/// <param name="Type">Of its elements.</param>
/// <param name="Alignment">Elements to a multiple of which its address is aligned: a power of two.</param>
/// <param name="Alias">The first operand that may lie in the same memory; itself if none does.</param>
internal readonly record struct OperandMemory(ScalarType Type, int Alignment, int Alias);

/// <summary>
/// How a kernel is laid over threads. The iterations of its grid loops are rows; <paramref name="Group"/> threads share
/// a row, <paramref name="Rows"/> rows a block. Where nothing flows from one column to another, blocks share the
/// columns of a row too (<paramref name="Columns"/>: how many there are).
/// </summary>
internal sealed record CudaSchedule(
    IReadOnlyList<Statement.Loop> Grid, IReadOnlyList<Statement> Body, int Group, int Rows, Expr? Columns,
    IReadOnlySet<Statement> Barriers, IReadOnlyDictionary<Statement, int> Widths)
{
    public const int LargestBlock = 512;

    private const int Block = 256, Warp = 32;

    /// <summary>Vectors of a row that a warp takes by itself.</summary>
    private const int WarpVectors = 256;

    /// <summary>Vectors of a long row that a thread takes, at best; where a block walks over rows and has sums to carry.</summary>
    private const int ThreadVectors = 2, WalkedVectors = 1;

    public int Threads => Group * Rows;

    /// <summary>Elements of a row that one sweep of its threads covers.</summary>
    public int Sweep(Statement loop) => Group * Widths[loop];

    /// <summary>Columns that one block takes.</summary>
    public int ChunkColumns => Widths.Count == 0 ? 1 : Group * Widths.Values.Max();

    public static CudaSchedule Of(Kernel kernel, IReadOnlyList<OperandMemory> memory, Func<Extent, long> largest)
    {
        (List<Statement.Loop> grid, IReadOnlyList<Statement> body) = Shape(kernel);
        int[] aliases = [.. memory.Select(m => m.Alias)];
        Statement.Loop[] loops = [.. body.SelectMany(s => s.Tree()).Where(s => s.IsVector()).Cast<Statement.Loop>()];
        IReadOnlyDictionary<Statement, int> widths = VectorLoop.Widths(loops, kernel, memory);
        if (loops.Length == 0)
            return new(grid, body, 1, grid.Count == 0 ? 1 : Block / 2, null, new HashSet<Statement>(), widths);

        IReadOnlySet<Statement> barriers = CudaHazards.Barriers(body, aliases);
        bool independent = barriers.Count == 0 && !loops.Any(l => l.Body.Any(s => s is Statement.Accumulate));
        Expr? columns = independent ? SharedColumns(kernel, loops) : null;
        long vectors = loops.Max(l => Vectors(l, widths[l], kernel, largest));
        if (columns is not null)
        {
            // Blocks divide a long row evenly, in whole warps; where it's short, threads take neighbouring rows.
            long blocks = (vectors + Block - 1) / Block;
            int threads = (int)(blocks == 1 ? vectors : WholeWarps((vectors + blocks - 1) / blocks));
            return new(grid, body, threads, grid.Count == 0 ? 1 : Block / threads, blocks > 1 ? columns : null, barriers, widths);
        }
        bool hasRows = grid.Count > 0 && !body.Any(s => s is Statement.Loop && !s.IsVector());
        if (hasRows && vectors <= WarpVectors)
        {
            int threads = (int)Math.Min(Warp, PowerAbove(vectors));
            return new(grid, body, threads, Block / threads, null, barriers, widths);
        }
        long most = grid.Count > 0 && body.Any(s => s is Statement.Loop && !s.IsVector()) ? WalkedVectors : ThreadVectors;
        int group = (int)Math.Clamp(WholeWarps((vectors + most - 1) / most), 2 * Warp, LargestBlock);
        return new(grid, body, group, 1, null, barriers, widths);
    }

    /// <summary>The nest of grid loops and what is inside; names before it go inside.</summary>
    private static (List<Statement.Loop>, IReadOnlyList<Statement>) Shape(Kernel kernel)
    {
        var grid = new List<Statement.Loop>();
        IReadOnlyList<Statement> body = kernel.Body;
        if (kernel.Body.LastOrDefault() is not Statement.Loop { Kind: LoopKind.Grid } || kernel.Body.SkipLast(1).Any(s => s is not Statement.Let))
            return (grid, body);
        Statement[] names = [.. kernel.Body.SkipLast(1)];
        Statement? statement = kernel.Body[^1];
        while (statement is Statement.Loop { Kind: LoopKind.Grid } loop && loop.From.IsLaunchConstant(kernel) && loop.To.IsLaunchConstant(kernel))
        {
            grid.Add(loop);
            body = loop.Body;
            statement = body.Count == 1 ? body[0] : null;
        }
        return grid.Count == 0 ? (grid, kernel.Body) : (grid, [.. names, .. body]);
    }

    /// <summary>The columns of the longest vector loop, where all their numbers are known when the kernel is launched.</summary>
    private static Expr? SharedColumns(Kernel kernel, Statement.Loop[] loops)
    {
        Expr? most = null;
        foreach (Statement.Loop loop in loops)
        {
            if (loop.Length() is not { } length || !length.IsLaunchConstant(kernel))
                return null;
            most = most is null || most.Equals(length) ? length : new Expr.Apply(Operation.Maximum, most, length);
        }
        return most;
    }

    private static long Vectors(Statement.Loop loop, int width, Kernel kernel, Func<Extent, long> largest)
    {
        const long Unknown = 4096;
        long columns = loop.Length() is { } length && length.IsLaunchConstant(kernel) ? LaunchValue.Of(length, largest) : Unknown;
        return Math.Max(1, (columns + width - 1) / width);
    }

    private static long WholeWarps(long threads) => (threads + Warp - 1) / Warp * Warp;

    private static long PowerAbove(long value) => (long)BitOperations.RoundUpToPowerOf2((ulong)Math.Max(1, value));
}
