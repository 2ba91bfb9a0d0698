using System.Globalization;
using System.Text;

namespace Legato.Runtime.Text.Chat;

/// <summary>Python's formatting by <c>%</c>, as the operator and the filter <c>format</c> use it.</summary>
internal sealed class PythonFormat(JinjaBudget budget, PythonText text)
{
    private const int MaximumWidth = 1000;

    /// <param name="arguments">A value, or a tuple of values.</param>
    public string Percent(string format, object? arguments)
    {
        IReadOnlyList<object?> values = arguments is JinjaList { IsTuple: true } tuple ? tuple : [arguments];
        var output = new StringBuilder();
        int next = 0;
        for (int at = 0; at < format.Length; at++)
        {
            if (format[at] != '%')
            {
                output.Append(format[at]);
                continue;
            }
            if (at + 1 < format.Length && format[at + 1] == '%')
            {
                output.Append('%');
                at++;
                continue;
            }
            at = AppendField(format, at + 1, values, ref next, output);
        }
        if (next < values.Count && !(arguments is JinjaDict))
            throw JinjaException.Type("not all arguments converted during string formatting");
        budget.Allocate(output.Length);
        return output.ToString();
    }

    // One field: flags, width, precision, kind. Gives the position of its last character.
    private int AppendField(string format, int at, IReadOnlyList<object?> values, ref int next, StringBuilder output)
    {
        bool left = false, zero = false, plus = false;
        for (; at < format.Length && format[at] is '-' or '0' or '+' or ' ' or '#'; at++)
        {
            left |= format[at] == '-';
            zero |= format[at] == '0';
            plus |= format[at] == '+';
        }
        int width = ReadNumber(format, ref at);
        int precision = -1;
        if (at < format.Length && format[at] == '.')
        {
            at++;
            precision = ReadNumber(format, ref at);
        }
        if (at >= format.Length)
            throw new JinjaException("ValueError", "incomplete format");
        if (next >= values.Count)
            throw JinjaException.Type("not enough arguments for format string");
        string field = Convert(format[at], values[next++], precision);
        if (plus && field.Length > 0 && field[0] != '-' && format[at] is 'd' or 'i' or 'f' or 'e' or 'g')
            field = "+" + field;
        int padding = Math.Max(0, width - field.Length);
        if (left)
            output.Append(field).Append(' ', padding);
        else if (zero && format[at] is not ('s' or 'r'))
            output.Append(field.StartsWith('-') ? "-" : "").Append('0', padding).Append(field.TrimStart('-'));
        else
            output.Append(' ', padding).Append(field);
        return at;
    }

    private string Convert(char kind, object? value, int precision)
    {
        switch (kind)
        {
            case 's' or 'r':
                string characters = kind == 's' ? text.Str(value) : text.Repr(value);
                return precision >= 0 && precision < characters.Length ? characters[..precision] : characters;
            case 'd' or 'i' or 'u': return ((long)Number(value)).ToString(CultureInfo.InvariantCulture);
            case 'x': return ((long)Number(value)).ToString("x", CultureInfo.InvariantCulture);
            case 'X': return ((long)Number(value)).ToString("X", CultureInfo.InvariantCulture);
            case 'o': return System.Convert.ToString((long)Number(value), 8);
            case 'f' or 'F': return Number(value).ToString("F" + (precision < 0 ? 6 : precision), CultureInfo.InvariantCulture);
            case 'e': return Exponent(Number(value).ToString("e" + (precision < 0 ? 6 : precision), CultureInfo.InvariantCulture));
            case 'g': return PythonText.Float(Number(value)) is var whole && whole.EndsWith(".0", StringComparison.Ordinal) ? whole[..^2] : PythonText.Float(Number(value));
            default: throw new JinjaException("ValueError", $"unsupported format character '{kind}'");
        }
    }

    private static double Number(object? value) => JinjaOperators.TryNumber(value, out double number)
        ? number
        : throw JinjaException.Type($"a number is required, not {JinjaOperators.TypeName(value)}");

    // .NET writes three digits of the exponent, Python two.
    private static string Exponent(string text)
    {
        int mark = text.IndexOf('e') + 2;
        string digits = text[mark..].TrimStart('0').PadLeft(2, '0');
        return text[..mark] + digits;
    }

    private static int ReadNumber(string format, ref int at)
    {
        int number = 0;
        for (; at < format.Length && char.IsAsciiDigit(format[at]); at++)
            number = Math.Min(MaximumWidth, number * 10 + (format[at] - '0'));
        return number;
    }
}
