using System.Globalization;
using System.Text;

namespace Legato.Runtime.Text.Chat;

/// <summary>The filters behind <c>|</c>: those of text and numbers. Those of lists are in <see cref="JinjaListFilters"/>.</summary>
internal sealed class JinjaFilters(
    JinjaBudget budget, JinjaOperators operators, PythonText text, JinjaMethods methods, JinjaListFilters lists)
{
    private static readonly HashSet<string> Names =
    [
        "abs", "attr", "capitalize", "center", "count", "d", "default", "e", "escape", "float", "format", "indent", "int", "length",
        "lower", "replace", "round", "safe", "string", "title", "tojson", "trim", "truncate", "upper", "urlencode", "wordcount",
    ];

    public static bool Exists(string name) => Names.Contains(name) || JinjaListFilters.Exists(name);

    public object? Apply(string name, object? value, JinjaCall call)
    {
        budget.Step();
        object? result = JinjaListFilters.Exists(name) ? lists.Apply(name, value, call) : ApplyScalar(name, value, call);
        if (result is string made)
            budget.Allocate(made.Length);
        return result;
    }

    private object? ApplyScalar(string name, object? value, JinjaCall call)
    {
        switch (name)
        {
            case "default" or "d":
                bool missing = value is JinjaUndefined || JinjaOperators.Truth(call.Get(1, "boolean", false)) && !JinjaOperators.Truth(value);
                return missing ? call.Get(0, "default_value", "") : value;
            case "length" or "count": return LengthOf(value);
            case "string" or "safe": return text.Str(value);
            case "upper": return text.Str(value).ToUpperInvariant();
            case "lower": return text.Str(value).ToLowerInvariant();
            case "title": return JinjaMethods.Title(text.Str(value));
            case "capitalize": return JinjaMethods.Capitalize(text.Str(value));
            case "trim": return JinjaMethods.Strip(text.Str(value), call, true, true);
            case "replace": return methods.Replace(text.Str(value), text.Str(call.Require(0, "old")), text.Str(call.Require(1, "new")), CountOf(call));
            case "center": return methods.Find(text.Str(value), "center")!.Invoke(JinjaCall.Of(call.Int(0, "width", 80)));
            case "indent": return Indent(text.Str(value), call);
            case "truncate": return Truncate(text.Str(value), call);
            case "wordcount": return (long)text.Str(value).Split((char[]?)null, StringSplitOptions.RemoveEmptyEntries).Length;
            case "escape" or "e": return Escape(text.Str(value));
            case "urlencode": return Uri.EscapeDataString(text.Str(value)).Replace("%2F", "/");
            case "format": return new PythonFormat(budget, text).Percent(text.Str(value), new JinjaList(call.Positional) { IsTuple = true });
            case "tojson": return ToJson(value, call);
            case "int": return ToInt(value, call);
            case "float": return ToFloat(value, call);
            case "abs": return Absolute(value);
            case "round": return Round(value, call);
            default: throw new JinjaException("TemplateAssertionError", $"No filter named '{name}'.", call.Line);
        }
    }

    private object LengthOf(object? value) => value switch
    {
        string characters => (long)CodePoints.Length(characters),
        JinjaList list => (long)list.Count,
        JinjaDict dict => (long)dict.Count,
        JinjaUndefined => 0L,
        _ => throw JinjaException.Type($"object of type '{JinjaOperators.TypeName(value)}' has no len()"),
    };

    private static long CountOf(JinjaCall call) => call.Get(2, "count", null) is long count ? count : -1;

    private string ToJson(object? value, JinjaCall call)
    {
        string? indent = call.Get(0, "indent", null) switch
        {
            null => null,
            long width => new string(' ', (int)Math.Clamp(width, 0, 64)),
            string characters => characters,
            _ => throw JinjaException.Type("'indent' must be an integer or a string", call.Line),
        };
        string itemSeparator = indent is null ? ", " : ",", keySeparator = ": ";
        if (call.Named.TryGetValue("separators", out object? separators) && separators is JinjaList { Count: 2 } pair)
            (itemSeparator, keySeparator) = (text.Str(pair[0]), text.Str(pair[1]));
        bool sorted = call.Named.TryGetValue("sort_keys", out object? sort) && JinjaOperators.Truth(sort);
        bool ascii = call.Named.TryGetValue("ensure_ascii", out object? only) && JinjaOperators.Truth(only);
        return new JinjaJson(budget).Write(value, indent, itemSeparator, keySeparator, sorted, ascii);
    }

    private string Indent(string value, JinjaCall call)
    {
        string indent = call.Get(0, "width", 4L) switch
        {
            long width => new string(' ', (int)Math.Clamp(width, 0, 1024)),
            string characters => characters,
            _ => throw JinjaException.Type("'width' must be an integer or a string", call.Line),
        };
        bool first = JinjaOperators.Truth(call.Get(1, "first", false)), blank = JinjaOperators.Truth(call.Get(2, "blank", false));
        var output = new StringBuilder();
        string[] lines = value.Split('\n');
        for (int i = 0; i < lines.Length; i++)
        {
            if (i > 0)
                output.Append('\n');
            bool indented = i == 0 ? first : blank || lines[i].Length > 0;
            budget.Allocate(indented ? indent.Length : 0);
            output.Append(indented ? indent : "").Append(lines[i]);
        }
        return output.ToString();
    }

    private static string Truncate(string value, JinjaCall call)
    {
        int length = (int)Math.Clamp(call.Int(0, "length", 255), 0, int.MaxValue);
        bool killWords = JinjaOperators.Truth(call.Get(1, "killwords", false));
        string end = call.Text(2, "end", "...");
        int leeway = (int)Math.Clamp(call.Int(3, "leeway", 5), 0, 1024);
        if (value.Length <= (long)length + leeway)
            return value;
        string kept = value[..Math.Clamp(length - end.Length, 0, value.Length)];
        int space = kept.LastIndexOf(' ');
        return (killWords || space < 0 ? kept : kept[..space]) + end;
    }

    private static string Escape(string value) => value.Replace("&", "&amp;", StringComparison.Ordinal)
        .Replace("<", "&lt;", StringComparison.Ordinal).Replace(">", "&gt;", StringComparison.Ordinal)
        .Replace("'", "&#39;", StringComparison.Ordinal).Replace("\"", "&#34;", StringComparison.Ordinal);

    private static object? ToInt(object? value, JinjaCall call) => value switch
    {
        long number => (object)number,
        bool truth => truth ? 1L : 0L,
        double number when Math.Abs(number) < 9e18 => (long)number,
        string characters when long.TryParse(characters.Trim(), NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out long number) => number,
        string characters when double.TryParse(characters.Trim(), CultureInfo.InvariantCulture, out double number) && Math.Abs(number) < 9e18 => (long)number,
        _ => call.Get(0, "default", 0L),
    };

    private static object? ToFloat(object? value, JinjaCall call) => value switch
    {
        string characters when double.TryParse(characters.Trim(), CultureInfo.InvariantCulture, out double number) => number,
        _ when JinjaOperators.TryNumber(value, out double number) => number,
        _ => call.Get(0, "default", 0.0),
    };

    private object? Absolute(object? value) => JinjaOperators.TryNumber(value, out double number) && number < 0 ? operators.Negate(value)
        : JinjaOperators.TryNumber(value, out _) ? value
        : throw JinjaException.Type($"bad operand type for abs(): '{JinjaOperators.TypeName(value)}'");

    private static object Round(object? value, JinjaCall call)
    {
        if (!JinjaOperators.TryNumber(value, out double number))
            throw JinjaException.Type($"type {JinjaOperators.TypeName(value)} doesn't define __round__ method");
        int precision = (int)Math.Clamp(call.Int(0, "precision", 0), 0, 15);
        double scale = Math.Pow(10, precision);
        return call.Text(1, "method", "common") switch
        {
            "ceil" => Math.Ceiling(number * scale) / scale,
            "floor" => Math.Floor(number * scale) / scale,
            "common" => Math.Round(number, precision, MidpointRounding.ToEven),
            _ => throw new JinjaException("FilterArgumentError", "method must be common, ceil or floor", call.Line),
        };
    }
}
