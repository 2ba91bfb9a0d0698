namespace Legato.Runtime.Text.Chat;

/// <summary>The tests behind <c>is</c>.</summary>
internal sealed class JinjaTestFunctions(JinjaOperators operators)
{
    public static bool Exists(string name) => Names.Contains(name);

    private static readonly HashSet<string> Names =
    [
        "defined", "undefined", "none", "boolean", "true", "false", "integer", "float", "number", "string", "mapping",
        "sequence", "iterable", "callable", "sameas", "escaped", "in", "eq", "equalto", "==", "ne", "!=", "lt", "lessthan", "<",
        "le", "<=", "gt", "greaterthan", ">", "ge", ">=", "odd", "even", "divisibleby", "lower", "upper", "test", "filter",
    ];

    public bool Test(string name, object? value, JinjaCall call)
    {
        switch (name)
        {
            case "defined": return value is not JinjaUndefined;
            case "undefined": return value is JinjaUndefined;
            case "none": return value is null;
            case "boolean": return value is bool;
            case "true": return value is true;
            case "false": return value is false;
            case "integer": return value is long;
            case "float": return value is double;
            case "number": return value is long or double or bool;
            case "string": return value is string;
            case "mapping": return value is JinjaDict;
            case "sequence" or "iterable": return value is string or JinjaList or JinjaDict or JinjaUndefined;
            case "callable": return value is JinjaCallable;
            case "sameas": return IsSame(value, call.Require(0, "other"));
            case "escaped": return false;
            case "in": return operators.Contains(call.Require(0, "seq"), value);
            case "eq" or "equalto" or "==": return operators.AreEqual(value, call.Require(0, "other"));
            case "ne" or "!=": return !operators.AreEqual(value, call.Require(0, "other"));
            case "lt" or "lessthan" or "<": return operators.Compare(value, call.Require(0, "other"), "<") < 0;
            case "le" or "<=": return operators.Compare(value, call.Require(0, "other"), "<=") <= 0;
            case "gt" or "greaterthan" or ">": return operators.Compare(value, call.Require(0, "other"), ">") > 0;
            case "ge" or ">=": return operators.Compare(value, call.Require(0, "other"), ">=") >= 0;
            case "odd": return Remainder(value, 2) == 1;
            case "even": return Remainder(value, 2) == 0;
            case "divisibleby": return Remainder(value, call.Int(0, "num")) == 0;
            case "lower": return value is string lower && lower.Any(char.IsLower) && !lower.Any(char.IsUpper);
            case "upper": return value is string upper && upper.Any(char.IsUpper) && !upper.Any(char.IsLower);
            case "test": return value is string test && Exists(test);
            case "filter": return value is string filter && JinjaFilters.Exists(filter);
            default: throw new JinjaException("TemplateAssertionError", $"No test named '{name}'.", call.Line);
        }
    }

    private static bool IsSame(object? left, object? right) => (left, right) switch
    {
        (null, null) => true,
        (bool a, bool b) => a == b,
        (long a, long b) => a == b,
        (string a, string b) => a == b,
        _ => ReferenceEquals(left, right),
    };

    private long Remainder(object? value, long divisor) => operators.Arithmetic("%", value, divisor) switch
    {
        long remainder => remainder,
        double remainder when remainder == Math.Floor(remainder) => (long)remainder,
        _ => -1,
    };
}
