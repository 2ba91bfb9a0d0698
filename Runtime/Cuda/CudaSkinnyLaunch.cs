using System.Text;
using Legato.Runtime.Cpu;
using Legato.Runtime.Plans;

namespace Legato.Runtime.Cuda;

/// <summary>
/// Products of at most 16 rows of one left operand with a norm that makes it, their epilogues and what follows them element by element,
/// bound by reading the right operands: decoding's products. Where those are parameters, their first pieces are fetched while the
/// kernels before still run.
/// </summary>
internal sealed class CudaSkinnyLaunch : CudaLaunch
{
    /// <summary>Words of a right operand among the arguments.</summary>
    public const int RightWords = 4;

    /// <summary>Of a block.</summary>
    public const int Threads = 32 * Warps;

    private const int MostRows = 16, FewRows = 8, AlignedElements = 8, TileColumns = 8, Tiles = 4, SlotBytes = 2048, Warps = 8, Words = 4;

    /// <summary>Of a block's shared memory: the system's.</summary>
    private const int ReservedBytes = 1024;

    private readonly CudaSkinnyChain[] chains;
    private readonly CudaSkinnyPrologue? prologue;
    private readonly CudaView left;
    private readonly CpuExtent leftStride, m, k;
    private readonly CpuExtent[] columns;
    private readonly int multiprocessors;
    private readonly Lazy<CudaCall> call;

    /// <param name="chains">Of as many members each.</param>
    /// <param name="prologue">What makes the left operand, where that is part of the launch.</param>
    /// <param name="prefetches">Whether no kernel before writes a right operand.</param>
    public CudaSkinnyLaunch(CudaSkinnyChain[] chains, CudaSkinnyPrologue? prologue, bool prefetches, CudaLowering lowering)
        : base(NameOf(chains), chains.Select(c => c.Cost).Aggregate(prologue?.Cost ?? Cost.Zero, (x, y) => x + y), lowering)
    {
        (this.chains, this.prologue) = (chains, prologue);
        Step.MatrixProduct first = chains[0].Products[0].Step;
        (left, leftStride, m, k) = (lowering.View(first.Left.View), lowering.Extent(first.Left.RowStride), lowering.Extent(first.M), lowering.Extent(first.K));
        columns = [.. chains.Select(c => lowering.Extent(c.Columns))];
        multiprocessors = lowering.Device.Information.Multiprocessors;
        long rows = lowering.Bounds(first.M).High;
        int members = chains[0].Members, tiles = Math.Max(Tiles, members), atOnce = rows > FewRows ? MostRows : rows > 1 ? FewRows : 1;
        int leftBytes = prologue?.Bytes ?? 0;
        int slots = Slots(2 * Warps * atOnce * (TileColumns * tiles + 1) * sizeof(float) + leftBytes, lowering.Device.Information.SharedBytes);
        int sharedBytes = slots * Warps * SlotBytes + leftBytes;
        (string Name, int Value)[] settings =
        [
            ("CHAINS", chains.Length), ("MEMBERS", members), ("TILES", tiles), ("WARPS", Warps), ("SLOTS", slots), ("ROWS", atOnce),
            ("PREFETCHES", prefetches ? 1 : 0), ("PAIRED", chains[0].Distance > 0 ? 1 : 0), ("PREPARES", prologue is null ? 0 : 1),
        ];
        string source = Source(left.Type, settings, chains, prologue);
        lowering.Want(source);
        call = new Lazy<CudaCall>(() => new CudaCall(
            lowering.Device.Compiler.Load(source).Function("skinny_product", sharedBytes),
            Words + (prologue?.Arguments ?? 0) + chains.Sum(c => c.Members * RightWords + c.Parts.Sum(p => p.Arguments)), Name)
        {
            Threads = Threads,
            SharedBytes = sharedBytes,
            StartsEarly = lowering.Device.OverlapsLaunches,
        });
    }

    public static bool Takes(Step.MatrixProduct step, CudaView left, CudaView right, CudaLowering lowering) =>
        lowering.Bounds(step.M).High <= MostRows
        && step.Batch.Count == 0
        && left.Type is ScalarType.BF16 or ScalarType.F16 && left.Type == right.Type
        && left.Alignment % AlignedElements == 0 && right.Alignment % AlignedElements == 0
        && step.Left.ColumnStride.Equals(Extent.One) && step.Left.RowStride.IsMultiple(AlignedElements)
        && step.Right.RowStride.Equals(Extent.One) && step.Right.ColumnStride.IsMultiple(AlignedElements)
        && step.K.IsMultiple(AlignedElements);

    /// <summary>Shared memory of another launch's block that fits beside the largest of these, where a multiprocessor has so much for one.</summary>
    public static int BytesBeside(int sharedBytes) => sharedBytes / 2 - Warps * SlotBytes - ReservedBytes;

    public override void Bind(ReadOnlySpan<long> dimensions)
    {
        base.Bind(dimensions);
        Span<long> arguments = call.Value.Arguments;
        long rows = m.Evaluate(dimensions), groups = 0;
        (arguments[0], arguments[1], arguments[2], arguments[3]) = (left.Address(dimensions), leftStride.Evaluate(dimensions), rows, k.Evaluate(dimensions));
        arguments = arguments[Words..];
        foreach (CudaSkinnyChain chain in chains)
        {
            chain.BindRights(arguments, dimensions);
            arguments = arguments[(chain.Members * RightWords)..];
        }
        if (prologue is not null)
        {
            prologue.Bind(arguments, dimensions);
            arguments = arguments[prologue.Arguments..];
        }
        foreach (CudaSkinnyPart part in chains.SelectMany(c => c.Parts))
        {
            part.Bind(arguments, dimensions);
            arguments = arguments[part.Arguments..];
        }
        foreach (CpuExtent shared in columns)
            groups += (shared.Evaluate(dimensions) + TileColumns - 1) / TileColumns;
        call.Value.BlocksX = rows > 0 ? Math.Min(groups, multiprocessors) : 0;
    }

    public override void Enqueue(nint stream) => call.Value.Enqueue(stream);

    /// <summary>
    /// How many windows a ring holds: a block takes just more than half of what there is of shared memory, its sums included. So
    /// each multiprocessor has one, and takes one of the next launch as soon as that ends.
    /// </summary>
    private static int Slots(int sumBytes, int sharedBytes) => (sharedBytes / 2 - sumBytes) / (Warps * SlotBytes) + 1;

    private static string Source(ScalarType element, (string Name, int Value)[] settings, CudaSkinnyChain[] chains, CudaSkinnyPrologue? prologue)
    {
        string name = CudaTypes.Name(element);
        var text = new StringBuilder($"{CudaCompiler.Prelude}typedef {name} Element;\n#define ELEMENT \"{name}\"\n");
        foreach ((string setting, int value) in settings)
            text.Append($"#define {setting} {value}\n");
        return text.Append(CudaSkinnyText.Of(chains, prologue)).Append(string.Concat(new[] { "Fragments", "AsyncCopies", "SkinnyProduct" }.Select(p => CudaCompiler.Resource(p + ".cu")))).ToString();
    }

    /// <summary>The path of the first, the others' last names beside it.</summary>
    private static string NameOf(CudaSkinnyChain[] chains) =>
        string.Join(", ", chains.SelectMany(c => c.Products).Select((p, i) => i == 0 ? p.Step.Name : p.Step.Name[(p.Step.Name.LastIndexOf('.') + 1)..]));
}
