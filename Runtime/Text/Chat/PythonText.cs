using System.Globalization;
using System.Text;

namespace Legato.Runtime.Text.Chat;

/// <summary>Values as text, as Python writes them: <c>str</c> and <c>repr</c>.</summary>
internal sealed class PythonText(JinjaBudget budget)
{
    /// <summary>What a value looks like in output.</summary>
    public string Str(object? value)
    {
        switch (value)
        {
            case string text: return text;
            case JinjaUndefined: return "";
            default:
                var builder = new StringBuilder();
                Write(value, builder);
                budget.Allocate(builder.Length);
                return builder.ToString();
        }
    }

    /// <summary>What a value looks like inside a list.</summary>
    public string Repr(object? value)
    {
        var builder = new StringBuilder();
        Write(value, builder);
        budget.Allocate(builder.Length);
        return builder.ToString();
    }

    /// <summary>A floating-point number in the shortest form that reads back as the same.</summary>
    public static string Float(double value)
    {
        if (double.IsNaN(value))
            return "nan";
        if (double.IsInfinity(value))
            return value > 0 ? "inf" : "-inf";
        double size = Math.Abs(value);
        if (size != 0 && (size < 1e-4 || size >= 1e16))
            return Scientific(value);
        string text = value.ToString("R", CultureInfo.InvariantCulture);
        if (text.Contains('E'))
            text = value.ToString("0.################################", CultureInfo.InvariantCulture);
        return text.Contains('.') ? text : text + ".0";
    }

    // .NET writes such numbers as 1E-07, or in full while their digits fill the integer; Python's exponent has two
    // digits at least.
    private static string Scientific(double value)
    {
        string text = value.ToString("R", CultureInfo.InvariantCulture);
        int mark = text.IndexOf('E');
        if (mark < 0)
        {
            string digits = text.TrimStart('-').TrimEnd('0'), sign = value < 0 ? "-" : "";
            string mantissa = digits.Length > 1 ? $"{digits[0]}.{digits[1..]}" : digits;
            return $"{sign}{mantissa}e+{text.TrimStart('-').Length - 1:00}";
        }
        int exponent = int.Parse(text.AsSpan(mark + 1), NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture);
        return $"{text[..mark]}e{(exponent < 0 ? '-' : '+')}{Math.Abs(exponent):00}";
    }

    private void Write(object? value, StringBuilder output)
    {
        JinjaBudget.GuardStack();
        budget.Step();
        switch (value)
        {
            case null: output.Append("None"); break;
            case bool truth: output.Append(truth ? "True" : "False"); break;
            case long number: output.Append(number); break;
            case double number: output.Append(Float(number)); break;
            case string text: Quote(text, output); break;
            case JinjaList list: WriteList(list, output); break;
            case JinjaDict dict: WriteDict(dict, output); break;
            case JinjaUndefined: output.Append("Undefined"); break;
            case JinjaNamespace: output.Append("<Namespace>"); break;
            case JinjaCallable callable: output.Append("<function ").Append(callable.Name).Append('>'); break;
            default: output.Append('<').Append(JinjaOperators.TypeName(value)).Append('>'); break;
        }
    }

    private void WriteList(JinjaList list, StringBuilder output)
    {
        output.Append(list.IsTuple ? '(' : '[');
        for (int i = 0; i < list.Count; i++)
        {
            if (i > 0)
                output.Append(", ");
            Write(list[i], output);
        }
        if (list is { IsTuple: true, Count: 1 })
            output.Append(',');
        output.Append(list.IsTuple ? ')' : ']');
    }

    private void WriteDict(JinjaDict dict, StringBuilder output)
    {
        output.Append('{');
        string separator = "";
        foreach (var (key, value) in dict)
        {
            output.Append(separator);
            Write(JinjaKeyComparer.ValueOf(key), output);
            output.Append(": ");
            Write(value, output);
            separator = ", ";
        }
        output.Append('}');
    }

    // Single quotes, unless that would need an escape that double quotes don't.
    private void Quote(string text, StringBuilder output)
    {
        budget.Allocate(text.Length);
        char quote = text.Contains('\'') && !text.Contains('"') ? '"' : '\'';
        output.Append(quote);
        foreach (var rune in text.EnumerateRunes())
            AppendQuoted(rune, quote, output);
        output.Append(quote);
    }

    private static void AppendQuoted(Rune rune, char quote, StringBuilder output)
    {
        switch (rune.Value)
        {
            case '\n': output.Append("\\n"); break;
            case '\r': output.Append("\\r"); break;
            case '\t': output.Append("\\t"); break;
            case '\\': output.Append("\\\\"); break;
            case var value when value == quote: output.Append('\\').Append(quote); break;
            case var value when IsPrintable(rune): output.Append(rune.ToString()); break;
            case < 0x100: output.Append($"\\x{rune.Value:x2}"); break;
            case < 0x10000: output.Append($"\\u{rune.Value:x4}"); break;
            default: output.Append($"\\U{rune.Value:x8}"); break;
        }
    }

    private static bool IsPrintable(Rune rune) => rune.Value == ' ' || Rune.GetUnicodeCategory(rune) is not (
        UnicodeCategory.Control or UnicodeCategory.Format or UnicodeCategory.Surrogate or UnicodeCategory.PrivateUse
        or UnicodeCategory.OtherNotAssigned or UnicodeCategory.LineSeparator or UnicodeCategory.ParagraphSeparator
        or UnicodeCategory.SpaceSeparator);
}
