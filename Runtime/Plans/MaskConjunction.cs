using static Legato.Runtime.Plans.Operation;

namespace Legato.Runtime.Plans;

/// <summary>A conjunction of literals of a mask: comparisons and other booleans, each plain or negated.</summary>
internal sealed class MaskConjunction
{
    /// <summary>Conjunctions beyond which a subexpression of a mask is taken as one opaque literal.</summary>
    private const int LargestNormalForm = 16;

    private readonly Literal[] literals;
    private readonly DifferenceBound[] bounds;

    private MaskConjunction(Literal[] literals)
    {
        this.literals = literals;
        bounds = [.. literals.SelectMany(DifferenceBound.Of)];
    }

    /// <summary>The mask with its sizes bound.</summary>
    public static Expr WithSizes(Expr expression, Func<string, long> dimension) => expression switch
    {
        Expr.Size size => new Expr.Integer(size.Extent.Evaluate(dimension)),
        Expr.Apply apply => new Expr.Apply(apply.Operation, [.. apply.Operands.Select(operand => WithSizes(operand, dimension))]),
        _ => expression,
    };

    /// <summary>Conjunctions of which at least one holds wherever <paramref name="mask"/> (or its negation) does.</summary>
    public static MaskConjunction[] NormalForm(Expr mask, bool negated) =>
        [.. Disjuncts(new Literal(mask, negated)).Select(literals => new MaskConjunction(literals))];

    /// <summary>A range that holds the key of every point of the tile where the conjunction is true; Low above High if there is none.</summary>
    public IntegerRange Keys(in MaskTile tile)
    {
        var zone = new Zone(tile);
        foreach (Literal literal in literals)
            if (MaskTiles.Evaluate(literal.Expression, tile) is var truth && (literal.Negated ? truth.IsTrue : truth.IsFalse))
                return Zone.NoKeys;
        foreach (DifferenceBound bound in bounds)
            bound.Tighten(ref zone, tile);
        return zone.Keys;
    }

    private static Literal[][] Disjuncts(Literal literal)
    {
        if (literal.Expression is not Expr.Apply apply)
            return [[literal]];
        switch (apply.Operation)
        {
            case Not:
                return Disjuncts(new(apply.Operands[0], !literal.Negated));
            case And or Or:
                Literal[][] left = Disjuncts(new(apply.Operands[0], literal.Negated));
                Literal[][] right = Disjuncts(new(apply.Operands[1], literal.Negated));
                bool both = apply.Operation == And != literal.Negated;
                if ((both ? left.Length * right.Length : left.Length + right.Length) > LargestNormalForm)
                    return [[literal]];
                return both ? [.. from l in left from r in right select (Literal[])[.. l, .. r]] : [.. left, .. right];
            default:
                return [[literal]];
        }
    }

    private readonly record struct Literal(Expr Expression, bool Negated);

    /// <summary>The bounds of q, k and q - k: all that difference constraints can say of two integers.</summary>
    private struct Zone(in MaskTile tile)
    {
        public IntegerRange Query = tile.Query, Key = tile.Key;

        public IntegerRange Difference = IntegerRange.Apply(Subtract, tile.Query, tile.Key);

        public static IntegerRange NoKeys => new(long.MaxValue, long.MinValue);

        /// <summary>The exact range of k among the integer solutions.</summary>
        public readonly IntegerRange Keys
        {
            get
            {
                if (Query.Low > Query.High || Difference.Low > Difference.High)
                    return NoKeys;
                IntegerRange implied = IntegerRange.Apply(Subtract, Query, Difference);
                return new(Math.Max(Key.Low, implied.Low), Math.Min(Key.High, implied.High));
            }
        }
    }

    /// <summary>query·q + key·k + rest ≤ 0 with query and key in {(±1, 0), (0, ±1), (1, -1), (-1, 1)}.</summary>
    private sealed record DifferenceBound(long Query, long Key, Expr Rest)
    {
        public static IEnumerable<DifferenceBound> Of(Literal literal)
        {
            if (literal.Expression is not Expr.Apply { Operation: Less or LessOrEqual or Equal } comparison)
                yield break;
            if (Linear(comparison.Operands[0]) is not var (q0, k0, rest0) || Linear(comparison.Operands[1]) is not var (q1, k1, rest1))
                yield break;
            (long q, long k) = (q0 - q1, k0 - k1);
            if (Math.Abs(q) > 1 || Math.Abs(k) > 1 || (q == 0 && k == 0) || q == k)
                yield break;
            Expr rest = Combine(Subtract, rest0, rest1), minus = Combine(Subtract, rest1, rest0), one = new Expr.Integer(1);
            switch (comparison.Operation, literal.Negated)
            {
                case (LessOrEqual, false):
                    yield return new(q, k, rest);
                    break;
                case (Less, false):
                    yield return new(q, k, Combine(Add, rest, one));
                    break;
                case (LessOrEqual, true): // not x ≤ y is y + 1 ≤ x
                    yield return new(-q, -k, Combine(Add, minus, one));
                    break;
                case (Less, true):
                    yield return new(-q, -k, minus);
                    break;
                case (Equal, false):
                    yield return new(q, k, rest);
                    yield return new(-q, -k, minus);
                    break;
            }
        }

        public void Tighten(ref Zone zone, in MaskTile tile)
        {
            // The weakest bound that the rest allows: query·q + key·k ≤ -rest.Low.
            IntegerRange rest = MaskTiles.Evaluate(Rest, tile);
            if (rest.Low <= -Farthest || rest.Low >= Farthest)
                return;
            long most = -rest.Low;
            zone.Query = Cut(zone.Query, Key == 0 ? Query : 0, most);
            zone.Key = Cut(zone.Key, Query == 0 ? Key : 0, most);
            zone.Difference = Cut(zone.Difference, Key != 0 ? Query : 0, most);
        }

        private const long Farthest = long.MaxValue / 4;

        private static IntegerRange Cut(IntegerRange range, long sign, long most) => sign switch
        {
            1 => range with { High = Math.Min(range.High, most) },
            -1 => range with { Low = Math.Max(range.Low, -most) },
            _ => range,
        };

        /// <summary>The expression as query·q + key·k + rest with a rest free of q and k; null if it has no such form.</summary>
        private static (long Query, long Key, Expr Free)? Linear(Expr expression)
        {
            switch (expression)
            {
                case Expr.Variable { Name: "q" }:
                    return (1, 0, new Expr.Integer(0));
                case Expr.Variable { Name: "k" }:
                    return (0, 1, new Expr.Integer(0));
                case Expr.Apply { Operation: Negate, Operands: [var x] }:
                    return Linear(x) is var (q, k, rest) ? (-q, -k, new Expr.Apply(Negate, rest)) : null;
                case Expr.Apply { Operation: Add or Subtract, Operands: [var x, var y] } apply:
                    long sign = apply.Operation == Add ? 1 : -1;
                    return Linear(x) is var (qx, kx, rx) && Linear(y) is var (qy, ky, ry)
                        ? (qx + sign * qy, kx + sign * ky, Combine(apply.Operation, rx, ry))
                        : null;
                default:
                    return IsFree(expression) ? (0, 0, expression) : null;
            }
        }

        private static bool IsFree(Expr expression) => expression switch
        {
            // Of what an operand holds its range on the tile is known, wherever it is read.
            Expr.Integer or Expr.Load or Expr.Variable { Name: "b" or "h" } => true,
            Expr.Apply apply => Array.TrueForAll(apply.Operands, IsFree),
            _ => false,
        };

        private static Expr Combine(Operation operation, Expr x, Expr y) => (operation, x, y) switch
        {
            (_, _, Expr.Integer { Value: 0 }) => x,
            (Add, Expr.Integer a, Expr.Integer b) => new Expr.Integer(a.Value + b.Value),
            (Subtract, Expr.Integer a, Expr.Integer b) => new Expr.Integer(a.Value - b.Value),
            _ => new Expr.Apply(operation, x, y),
        };
    }
}
