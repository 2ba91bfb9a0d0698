using Legato.Runtime.Plans;

namespace Legato.Runtime.Cpu;

/// <summary>
/// Ranges of a mask's integer operands, read where they lie: the attention of a step begins when they are there. What a tile
/// of one document can see is known by them.
/// </summary>
internal sealed unsafe class CpuMaskOperands(nint[] addresses, ScalarType[] types) : IMaskOperands
{
    /// <summary>More would take longer to read than the tile's scores.</summary>
    private const long MostElements = 1 << 14;

    public IntegerRange RangeOf(Expr.Load load, in MaskTile tile)
    {
        if (types[load.Operand] != ScalarType.I32)
            return IntegerRange.Any;
        long elements = 1;
        foreach (IndexTerm term in load.At.Terms)
            if (RangeOf(term, tile) is { } range && term.Stride.IsConstant && range.Low <= range.High)
                elements *= range.High - range.Low + 1;
            else
                return IntegerRange.Any;
        return elements <= MostElements ? Read((int*)addresses[load.Operand], load.At.Terms.AsSpan(), tile) : IntegerRange.Any;
    }

    private static IntegerRange Read(int* data, ReadOnlySpan<IndexTerm> terms, in MaskTile tile)
    {
        if (terms.IsEmpty)
            return IntegerRange.Of(*data);
        IntegerRange range = RangeOf(terms[0], tile)!.Value;
        long stride = terms[0].Stride.Constant;
        IntegerRange all = Read(data + range.Low * stride, terms[1..], tile);
        for (long i = range.Low + 1; i <= range.High; i++)
            all = all.Hull(Read(data + i * stride, terms[1..], tile));
        return all;
    }

    private static IntegerRange? RangeOf(IndexTerm term, in MaskTile tile) => term.Value is not Expr.Variable variable ? null : variable.Name switch
    {
        "b" => tile.Batch,
        "h" => tile.Head,
        "q" => tile.Query,
        "k" => tile.Key,
        _ => null,
    };
}
