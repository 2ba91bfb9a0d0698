using static Legato.Runtime.Plans.Operation;

namespace Legato.Runtime.Plans;

/// <summary>
/// Symbolic differentiation of a float expression with respect to one of its variables; what the gradient of
/// attention needs of a score modification.
/// </summary>
public static class Derivative
{
    private static readonly Expr Zero = new Expr.Number(0);
    private static readonly Expr One = new Expr.Number(1);

    /// <summary>
    /// d <paramref name="expression"/> / d <paramref name="variable"/>. Everything else in it (integers, conditions,
    /// loads) counts as constant. Where a branch or a tie makes the function bend, one of its slopes is taken.
    /// </summary>
    public static Expr Of(Expr expression, string variable) => expression switch
    {
        Expr.Variable v when v.Name == variable => One,
        Expr.Apply apply => OfApply(apply, variable),
        _ => Zero,
    };

    private static Expr OfApply(Expr.Apply apply, string variable)
    {
        Expr x = apply.Operands[0];
        switch (apply.Operation)
        {
            case Select:
                return Choose(x, Of(apply.Operands[1], variable), Of(apply.Operands[2], variable));
            case Add or Subtract or Multiply or Divide or Minimum or Maximum or Power:
                return OfBinary(apply, Of(x, variable), Of(apply.Operands[1], variable));
            case Negate or Absolute or Exp or Log or Sqrt or Rsqrt or Tanh or Sin or Cos or Erf:
                Expr inner = Of(x, variable);
                return IsZero(inner) ? Zero : Times(OfUnary(apply), inner);
            default:
                return Zero;
        }
    }

    private static Expr OfUnary(Expr.Apply apply)
    {
        Expr x = apply.Operands[0];
        return apply.Operation switch
        {
            Negate => new Expr.Number(-1),
            Absolute => Choose(Make(Less, x, Zero), new Expr.Number(-1), One),
            Exp => apply,
            Log => Make(Divide, One, x),
            Sqrt => Make(Divide, new Expr.Number(0.5), apply),
            Rsqrt => Make(Divide, Times(new Expr.Number(-0.5), apply), x),
            Tanh => Make(Subtract, One, Times(apply, apply)),
            Sin => Make(Cos, x),
            Cos => Make(Negate, Make(Sin, x)),
            Erf => Times(new Expr.Number(2 / Math.Sqrt(Math.PI)), Make(Exp, Make(Negate, Times(x, x)))),
            _ => throw new ArgumentOutOfRangeException(nameof(apply), apply.Operation, "no smooth operation of one operand"),
        };
    }

    private static Expr OfBinary(Expr.Apply apply, Expr dx, Expr dy)
    {
        if (IsZero(dx) && IsZero(dy))
            return Zero;
        Expr x = apply.Operands[0], y = apply.Operands[1];
        return apply.Operation switch
        {
            Add => Plus(dx, dy),
            Subtract => Minus(dx, dy),
            Multiply => Plus(Times(dx, y), Times(x, dy)),
            Divide => Make(Divide, Minus(dx, Times(apply, dy)), y),
            Minimum => Choose(Make(Less, y, x), dy, dx),
            Maximum => Choose(Make(Less, x, y), dy, dx),
            Power => Plus(
                IsZero(dx) ? Zero : Times(Times(y, Make(Power, x, Minus(y, One))), dx),
                IsZero(dy) ? Zero : Times(Times(apply, Make(Log, x)), dy)),
            _ => throw new ArgumentOutOfRangeException(nameof(apply), apply.Operation, "no smooth operation of two operands"),
        };
    }

    private static Expr Plus(Expr a, Expr b) => IsZero(a) ? b : IsZero(b) ? a : Make(Add, a, b);

    private static Expr Minus(Expr a, Expr b) => (a, b) switch
    {
        _ when IsZero(b) => a,
        (Expr.Number x, Expr.Number y) => new Expr.Number(x.Value - y.Value),
        _ => IsZero(a) ? Make(Negate, b) : Make(Subtract, a, b),
    };

    private static Expr Times(Expr a, Expr b) =>
        IsZero(a) || IsZero(b) ? Zero : a.Equals(One) ? b : b.Equals(One) ? a : Make(Multiply, a, b);

    private static Expr Choose(Expr condition, Expr then, Expr otherwise) =>
        then.Equals(otherwise) ? then : Make(Select, condition, then, otherwise);

    private static Expr.Apply Make(Operation operation, params Expr[] operands) => new(operation, operands);

    private static bool IsZero(Expr e) => e is Expr.Number { Value: 0 };
}
