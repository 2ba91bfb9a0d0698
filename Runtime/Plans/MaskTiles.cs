using static Legato.Runtime.Plans.Operation;

namespace Legato.Runtime.Plans;

/// <summary>What a mask does to a tile of scores.</summary>
public enum TileKind
{
    /// <summary>No query of the tile sees a key of it.</summary>
    Empty,

    /// <summary>Some do, or it can't be told without evaluating the mask.</summary>
    Partial,

    /// <summary>Every query sees every key.</summary>
    Full,
}

/// <summary>A box of (batch row, head, query position, key position).</summary>
/// <param name="Operands">Tells what the mask's operands hold there; null where it isn't known yet.</param>
public readonly record struct MaskTile(IntegerRange Batch, IntegerRange Head, IntegerRange Query, IntegerRange Key, IMaskOperands? Operands = null);

/// <summary>The operands that a mask reads.</summary>
public interface IMaskOperands
{
    /// <summary>A range that holds every element that <paramref name="load"/> reads on the tile.</summary>
    IntegerRange RangeOf(Expr.Load load, in MaskTile tile);
}

/// <summary>
/// Classifies tiles of an attention mask: a boolean expression over the integer variables b, h, q and k.
/// Always sound. Exact where the mask is built with And, Or and Not from comparisons that bound q, k or q - k
/// (causal, sliding window, prefix, and what combines them), unless it is so large that its disjunctive
/// normal form is cut off.
/// </summary>
/// <remarks>
/// Interval analysis comes first. Where that can't decide, each conjunction of the normal form is a system of difference
/// constraints over q and k; it has an integer solution in the tile unless the constraint graph has a negative cycle
/// (Dill 1989, "Timing assumptions and verification of finite-state concurrent systems").
/// Classifying allocates nothing.
/// </remarks>
public sealed class MaskTiles
{
    private readonly Expr? mask;
    private readonly MaskConjunction[] visible = [];
    private readonly MaskConjunction[] hidden = [];

    /// <param name="mask">Null admits every key.</param>
    /// <param name="dimension">Values of the dynamic dimensions that occur in the mask's sizes.</param>
    public MaskTiles(Expr? mask, Func<string, long>? dimension = null)
    {
        if (mask is null)
            return;
        this.mask = MaskConjunction.WithSizes(mask, dimension ?? (name => throw new ArgumentException($"the mask's dimension {name} is not bound")));
        visible = MaskConjunction.NormalForm(this.mask, negated: false);
        hidden = MaskConjunction.NormalForm(this.mask, negated: true);
    }

    public TileKind Classify(in MaskTile tile)
    {
        if (mask is null)
            return TileKind.Full;
        IntegerRange truth = Evaluate(mask, tile);
        if (truth.IsTrue)
            return TileKind.Full;
        if (truth.IsFalse)
            return TileKind.Empty;
        if (Keys(visible, tile) is { Low: var low, High: var high } && low > high)
            return TileKind.Empty;
        return Keys(hidden, tile) is { Low: var first, High: var last } && first > last ? TileKind.Full : TileKind.Partial;
    }

    /// <summary>A range of the tile's keys that holds every key that some query of the tile sees; Low above High if there is none.</summary>
    public IntegerRange VisibleKeys(in MaskTile tile) => mask is null ? tile.Key : Keys(visible, tile);

    /// <summary>A range that holds every value of <paramref name="expression"/> on the tile.</summary>
    internal static IntegerRange Evaluate(Expr expression, in MaskTile tile)
    {
        switch (expression)
        {
            case Expr.Integer integer:
                return IntegerRange.Of(integer.Value);
            case Expr.Variable variable:
                return variable.Name switch
                {
                    "k" => tile.Key,
                    "q" => tile.Query,
                    "h" => tile.Head,
                    "b" => tile.Batch,
                    _ => IntegerRange.Any,
                };
            case Expr.Load load:
                return tile.Operands?.RangeOf(load, tile) ?? IntegerRange.Any;
            case Expr.Apply { Operands: [var x] } apply:
                return IntegerRange.Apply(apply.Operation, Evaluate(x, tile));
            case Expr.Apply { Operands: [var x, var y] } apply:
                return IntegerRange.Apply(apply.Operation, Evaluate(x, tile), Evaluate(y, tile));
            case Expr.Apply { Operation: Select, Operands: [var condition, var then, var otherwise] }:
                IntegerRange truth = Evaluate(condition, tile);
                return truth.IsTrue ? Evaluate(then, tile)
                    : truth.IsFalse ? Evaluate(otherwise, tile)
                    : Evaluate(then, tile).Hull(Evaluate(otherwise, tile));
            default:
                return IntegerRange.Any;
        }
    }

    private static IntegerRange Keys(MaskConjunction[] conjunctions, in MaskTile tile)
    {
        var keys = new IntegerRange(long.MaxValue, long.MinValue);
        foreach (MaskConjunction conjunction in conjunctions)
            if (conjunction.Keys(tile) is var some && some.Low <= some.High)
                keys = keys.Hull(some);
        return keys;
    }
}
