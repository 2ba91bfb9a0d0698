using System.Globalization;
using System.Text;

namespace Legato.Runtime.Text.Chat;

/// <summary>What operators do with values, by Python's rules.</summary>
internal sealed class JinjaOperators(JinjaBudget budget, PythonText text)
{
    /// <summary>A value's type by Python's name.</summary>
    public static string TypeName(object? value) => value switch
    {
        null => "NoneType",
        bool => "bool",
        long => "int",
        double => "float",
        string => "str",
        JinjaList list => list.IsTuple ? "tuple" : "list",
        JinjaDict => "dict",
        JinjaUndefined => "Undefined",
        JinjaNamespace => "Namespace",
        JinjaCallable => "function",
        _ => "LoopContext",
    };

    public static bool Truth(object? value) => value switch
    {
        null or JinjaUndefined => false,
        bool truth => truth,
        long number => number != 0,
        double number => number != 0,
        string characters => characters.Length > 0,
        JinjaList list => list.Count > 0,
        JinjaDict dict => dict.Count > 0,
        _ => true,
    };

    public bool AreEqual(object? left, object? right)
    {
        budget.Step();
        switch (left, right)
        {
            case (null, null) or (JinjaUndefined, JinjaUndefined): return true;
            case (string a, string b): return string.Equals(a, b, StringComparison.Ordinal);
            case (JinjaList a, JinjaList b): return AreEqualLists(a, b);
            case (JinjaDict a, JinjaDict b): return AreEqualDicts(a, b);
            case (long a, long b): return a == b;
        }
        return TryNumber(left, out double x) && TryNumber(right, out double y) ? x == y : ReferenceEquals(left, right);
    }

    /// <summary>Below zero when the left value comes first.</summary>
    public int Compare(object? left, object? right, string comparison)
    {
        budget.Step();
        switch (left, right)
        {
            case (JinjaUndefined undefined, _): throw undefined.Error();
            case (_, JinjaUndefined undefined): throw undefined.Error();
            case (string a, string b): return CompareText(a, b);
            case (long a, long b): return a.CompareTo(b);
            case (JinjaList a, JinjaList b) when a.IsTuple == b.IsTuple: return CompareLists(a, b, comparison);
        }
        if (TryNumber(left, out double x) && TryNumber(right, out double y))
            return x.CompareTo(y);
        throw JinjaException.Type($"'{comparison}' not supported between instances of '{TypeName(left)}' and '{TypeName(right)}'");
    }

    /// <summary>Code-point order, which differs from that of UTF-16 where surrogates meet.</summary>
    public static int CompareText(string left, string right)
    {
        int length = Math.Min(left.Length, right.Length);
        for (int i = 0; i < length; i++)
        {
            if (left[i] == right[i])
                continue;
            bool leftHigh = char.IsSurrogate(left[i]), rightHigh = char.IsSurrogate(right[i]);
            return leftHigh != rightHigh ? leftHigh.CompareTo(rightHigh) : left[i].CompareTo(right[i]);
        }
        return left.Length.CompareTo(right.Length);
    }

    public bool Contains(object? container, object? item)
    {
        switch (container)
        {
            case string characters:
                budget.Step(characters.Length >> 4);
                return item is string part
                    ? characters.Contains(part, StringComparison.Ordinal)
                    : throw JinjaException.Type($"'in <string>' requires string as left operand, not {TypeName(item)}");
            case JinjaDict dict:
                return dict.ContainsKey(JinjaKeyComparer.KeyOf(item));
            case JinjaUndefined:
                return false;
            default:
                foreach (object? element in Iterate(container))
                    if (AreEqual(element, item))
                        return true;
                return false;
        }
    }

    /// <summary>The elements of a value: characters, items, or keys.</summary>
    public IReadOnlyList<object?> Iterate(object? value)
    {
        switch (value)
        {
            case JinjaList list: return list;
            case JinjaUndefined: return [];
            case JinjaDict dict: return dict.Keys.Select(JinjaKeyComparer.ValueOf).ToList();
            case string characters:
                budget.Allocate(characters.Length);
                return characters.EnumerateRunes().Select(object? (rune) => rune.ToString()).ToList();
            default: throw JinjaException.Type($"'{TypeName(value)}' object is not iterable");
        }
    }

    public object? Add(object? left, object? right)
    {
        switch (left, right)
        {
            case (string a, string b): return Join(a, b);
            case (JinjaList a, JinjaList b) when a.IsTuple == b.IsTuple:
                budget.Allocate(a.Count + b.Count);
                return new JinjaList(a.Concat(b)) { IsTuple = a.IsTuple };
            case (string, not JinjaUndefined):
                throw JinjaException.Type($"can only concatenate str (not \"{TypeName(right)}\") to str");
        }
        return Arithmetic("+", left, right);
    }

    public string Join(string left, string right)
    {
        budget.Allocate(left.Length + right.Length);
        return left + right;
    }

    public object? Multiply(object? left, object? right)
    {
        if (left is long or bool && right is string or JinjaList)
            (left, right) = (right, left);
        if (right is not (long or bool))
            return Arithmetic("*", left, right);
        long times = Math.Max(0, Convert.ToInt64(right, CultureInfo.InvariantCulture));
        switch (left)
        {
            case string characters:
                budget.Allocate(Product(characters.Length, times));
                return new StringBuilder().Insert(0, characters, (int)(characters.Length == 0 ? 0 : times)).ToString();
            case JinjaList list:
                budget.Allocate(Product(list.Count, times));
                var repeated = new JinjaList { IsTuple = list.IsTuple };
                for (long i = 0; i < times && list.Count > 0; i++)
                    repeated.AddRange(list);
                return repeated;
            default:
                return Arithmetic("*", left, right);
        }
    }

    /// <summary>Numbers of either type; of integers the result is an integer, except for division.</summary>
    public object? Arithmetic(string operation, object? left, object? right)
    {
        if (left is JinjaUndefined missing)
            throw missing.Error();
        if (right is JinjaUndefined absent)
            throw absent.Error();
        if (operation == "%" && left is string format)
            return new PythonFormat(budget, text).Percent(format, right);
        if (!TryNumber(left, out double x) || !TryNumber(right, out double y))
            throw JinjaException.Type($"unsupported operand type(s) for {operation}: '{TypeName(left)}' and '{TypeName(right)}'");
        try
        {
            return left is double || right is double || operation == "/"
                ? OfFloats(operation, x, y)
                : OfIntegers(operation, Convert.ToInt64(left, CultureInfo.InvariantCulture), Convert.ToInt64(right, CultureInfo.InvariantCulture));
        }
        catch (OverflowException)
        {
            throw JinjaException.Limit("a number is too large");
        }
    }

    public object? Negate(object? value) => value switch
    {
        long number => (object)unchecked(-number),
        double number => -number,
        bool truth => truth ? -1L : 0L,
        JinjaUndefined undefined => throw undefined.Error(),
        _ => throw JinjaException.Type($"bad operand type for unary -: '{TypeName(value)}'"),
    };

    public static bool TryNumber(object? value, out double number)
    {
        number = value switch
        {
            long integer => integer,
            double real => real,
            bool truth => truth ? 1 : 0,
            _ => double.NaN,
        };
        return value is long or double or bool;
    }

    private static object OfFloats(string operation, double x, double y)
    {
        if (y == 0 && operation is "/" or "//" or "%")
            throw new JinjaException("ZeroDivisionError", "division by zero");
        return operation switch
        {
            "+" => x + y,
            "-" => x - y,
            "*" => x * y,
            "/" => x / y,
            "//" => Math.Floor(x / y),
            "%" => x - y * Math.Floor(x / y),
            _ => Math.Pow(x, y),
        };
    }

    private static object OfIntegers(string operation, long x, long y)
    {
        if (y == 0 && operation is "//" or "%")
            throw new JinjaException("ZeroDivisionError", "integer division or modulo by zero");
        return operation switch
        {
            "+" => (object)checked(x + y),
            "-" => checked(x - y),
            "*" => checked(x * y),
            "//" => FloorDivide(x, y),
            "%" => checked(x - y * FloorDivide(x, y)),
            _ => y < 0 ? (object)Math.Pow(x, y) : Power(x, y),
        };
    }

    private static long FloorDivide(long x, long y)
    {
        long quotient = checked(x / y);
        return x % y != 0 && x < 0 != y < 0 ? quotient - 1 : quotient;
    }

    private static long Power(long x, long y)
    {
        long result = 1;
        for (long i = 0; i < y && x is not (0 or 1); i++)
            result = x == -1 ? y % 2 == 0 ? 1 : -1 : checked(result * x);
        return y > 0 && x == 0 ? 0 : x == 1 ? 1 : result;
    }

    private bool AreEqualLists(JinjaList left, JinjaList right)
    {
        JinjaBudget.GuardStack();
        if (left.Count != right.Count || left.IsTuple != right.IsTuple)
            return false;
        for (int i = 0; i < left.Count; i++)
            if (!AreEqual(left[i], right[i]))
                return false;
        return true;
    }

    private bool AreEqualDicts(JinjaDict left, JinjaDict right)
    {
        JinjaBudget.GuardStack();
        if (left.Count != right.Count)
            return false;
        foreach (var (key, value) in left)
            if (!right.TryGetValue(key, out object? other) || !AreEqual(value, other))
                return false;
        return true;
    }

    private int CompareLists(JinjaList left, JinjaList right, string comparison)
    {
        JinjaBudget.GuardStack();
        for (int i = 0; i < Math.Min(left.Count, right.Count); i++)
            if (!AreEqual(left[i], right[i]))
                return Compare(left[i], right[i], comparison);
        return left.Count.CompareTo(right.Count);
    }

    private static long Product(long size, long times) => size == 0 || times == 0 ? 0 : times > long.MaxValue / size ? long.MaxValue : size * times;
}
