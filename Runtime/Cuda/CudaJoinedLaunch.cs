using Legato.Runtime.Plans;

namespace Legato.Runtime.Cuda;

/// <summary>A kernel that may be launched with others.</summary>
internal sealed record CudaKernelMember(CudaKernelCall Call, FlatKernel Flat, CudaKernelText Text)
{
    public static CudaKernelMember? Of(CudaKernelCall call, CudaLowering lowering)
    {
        OperandMemory[] memory = CudaLowering.Memory(call.Views);
        (FlatKernel? flat, CudaKernelText? text) = lowering.Spelled(call.Kernel, "flat", memory, () =>
        {
            FlatKernel? made = FlatKernel.Of(call.Kernel, memory);
            return (made, made is null ? null : CudaKernelWriter.Write(
                made.Kernel, memory, extent => made.Bounds(extent, lowering.Bounds), lowering.Device.SharedBytesOfHalf));
        });
        return flat is not null && text is { Schedule.Columns: null } ? new CudaKernelMember(call, flat, text) : null;
    }
}

/// <summary>
/// Kernels over elements of different tensors as one launch: a table among its arguments says which blocks work on which
/// tensor. Each has the blocks that it would have alone, and sums in the same order.
/// </summary>
internal sealed class CudaJoinedLaunch : CudaLaunch
{
    /// <summary>Bytes of arguments that every driver takes.</summary>
    private const int MostArgumentBytes = 4096;

    /// <summary>Words of the table for each kernel before its parameters: its first block, and which text is its.</summary>
    private const int Heading = 2;

    private const string BlockType = "Block";

    private readonly CudaKernelMember[] members;
    private readonly int[] texts;
    private readonly int words;
    private readonly CudaLowering lowering;
    private readonly Lazy<CudaCall> call;

    /// <param name="members">Of the same bounds; none waits for another.</param>
    private CudaJoinedLaunch(CudaKernelMember[] members, CudaLowering lowering)
        : base($"{members[0].Call.Name} and {members.Length - 1} more", members.Select(m => m.Call.Cost).Aggregate((x, y) => x + y), lowering)
    {
        (this.members, this.lowering) = (members, lowering);
        words = Words(members);
        CudaKernelText[] distinct = [.. members.Select(m => m.Text).DistinctBy(t => t.Text)];
        texts = [.. members.Select(m => Array.FindIndex(distinct, t => t.Text == m.Text.Text))];
        string source = CudaCompiler.Prelude + Source(distinct, members.Length, words - Heading);
        int sharedBytes = members.Max(m => m.Text.SharedBytes);
        lowering.Want(source);
        call = new Lazy<CudaCall>(() => new CudaCall(lowering.Device.Compiler.Load(source).Function(CudaKernelText.Function, sharedBytes), members.Length * words, Name)
        {
            Threads = members[0].Text.Schedule.Threads,
            SharedBytes = sharedBytes,
        });
    }

    /// <summary>Launches of kernels none of which waits for another: those that can be joined are, the others are left.</summary>
    public static (IEnumerable<CudaJoinedLaunch> Joined, IEnumerable<CudaKernelCall> Left) Of(IReadOnlyList<CudaKernelCall> calls, CudaLowering lowering)
    {
        CudaKernelMember[][] groups = calls.Count < 2
            ? []
            : [.. calls.Select(c => CudaKernelMember.Of(c, lowering)).OfType<CudaKernelMember>().GroupBy(m => m.Text.Bounds)
                .SelectMany(g => g.Chunk(MostArgumentBytes / sizeof(long) / Words(g))).Where(g => g.Length > 1)];
        return (groups.Select(g => new CudaJoinedLaunch(g, lowering)), calls.Except(groups.SelectMany(g => g).Select(m => m.Call)));
    }

    public override void Bind(ReadOnlySpan<long> dimensions)
    {
        base.Bind(dimensions);
        call.Value.BlocksX = 0;
        for (int i = 0; i < members.Length; i++)
        {
            (CudaKernelCall kernel, FlatKernel flat, CudaKernelText text) = members[i];
            Span<long> row = call.Value.Arguments.Slice(i * words, words);
            (row[0], row[1]) = (call.Value.BlocksX, texts[i]);
            for (int o = 0; o < kernel.Views.Length; o++)
                row[Heading + o] = kernel.Views[o].Address(dimensions);
            for (int e = 0; e < text.Extents.Count; e++)
                row[Heading + kernel.Views.Length + e] = Size(text.Extents[e]);
            call.Value.BlocksX += text.Blocks(Size);

            long Size(Extent extent) => flat.Size(extent, name => lowering.Resources.Bindings[name]);
        }
    }

    public override void Enqueue(nint stream) => call.Value.Enqueue(stream);

    private static int Words(IEnumerable<CudaKernelMember> members) => Heading + members.Max(m => m.Text.Parameters.Count);

    private static string Source(CudaKernelText[] texts, int members, int words)
    {
        var source = new CudaText();
        source.Line($"struct {BlockType} {{ unsigned x; }};");
        source.Line($"struct Member {{ long long first, text, words[{words}]; }};");
        source.Line($"struct Members {{ Member at[{members}]; }};");
        for (int i = 0; i < texts.Length; i++)
            source.Append(texts[i].Part($"part{i}", BlockType));
        source.Open($"extern \"C\" __global__ void __launch_bounds__({texts[0].Bounds}) {CudaKernelText.Function}(const __grid_constant__ Members members)");
        source.Line("int own = 0;");
        source.Line($"while (own + 1 < {members} && blockIdx.x >= members.at[own + 1].first) own++;");
        source.Line("const Member& member = members.at[own];");
        source.Line($"const {BlockType} block{{blockIdx.x - (unsigned)member.first}};");
        source.Open("switch (member.text)");
        for (int i = 0; i < texts.Length; i++)
            source.Line($"case {i}: part{i}({string.Concat(texts[i].Parameters.Select((p, w) => $"({p.Type})member.words[{w}], "))}block); break;");
        source.Close();
        source.Close();
        return source.ToString();
    }
}
