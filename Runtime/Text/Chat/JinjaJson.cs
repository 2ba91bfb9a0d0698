using System.Globalization;
using System.Text;
using System.Text.Json;

namespace Legato.Runtime.Text.Chat;

/// <summary>Values from JSON, and to JSON as Python's <c>json.dumps</c> writes it without escaping for ASCII or HTML.</summary>
internal sealed class JinjaJson(JinjaBudget budget)
{
    /// <summary>A template's value for a JSON value, its strings rewritten.</summary>
    public static object? FromJson(JsonElement element, Func<string, string> rewrite) => element.ValueKind switch
    {
        JsonValueKind.Null or JsonValueKind.Undefined => null,
        JsonValueKind.True => true,
        JsonValueKind.False => false,
        JsonValueKind.String => rewrite(TextOf(element)),
        JsonValueKind.Number => element.TryGetInt64(out long integer) ? (object)integer : element.GetDouble(),
        JsonValueKind.Array => new JinjaList(element.EnumerateArray().Select(item => FromJson(item, rewrite))),
        _ => FromObject(element, rewrite),
    };

    /// <param name="indent">What each level is indented by; null for one line.</param>
    public string Write(object? value, string? indent, string itemSeparator, string keySeparator, bool sortKeys, bool ascii)
    {
        var output = new StringBuilder();
        var style = new Style(indent, itemSeparator, keySeparator, sortKeys, ascii);
        Write(value, style, "\n", output);
        budget.Allocate(output.Length);
        return output.ToString();
    }

    private sealed record Style(string? Indent, string ItemSeparator, string KeySeparator, bool SortKeys, bool Ascii);

    private static string TextOf(JsonElement element)
    {
        try
        {
            return element.GetString()!;
        }
        catch (InvalidOperationException error)
        {
            throw new LegatoException("a string has half a surrogate pair", "chat request", "write characters beyond U+FFFF as both halves, or as they are", error);
        }
    }

    private static JinjaDict FromObject(JsonElement element, Func<string, string> rewrite)
    {
        var dict = new JinjaDict();
        foreach (var member in element.EnumerateObject())
            dict[member.Name] = FromJson(member.Value, rewrite);
        return dict;
    }

    private void Write(object? value, Style style, string lineBreak, StringBuilder output)
    {
        JinjaBudget.GuardStack();
        budget.Step();
        switch (value)
        {
            case null: output.Append("null"); break;
            case bool truth: output.Append(truth ? "true" : "false"); break;
            case long number: output.Append(number); break;
            case double number: output.Append(Number(number)); break;
            case string text: WriteText(text, style.Ascii, output); break;
            case JinjaList list: WriteItems(list, '[', ']', style, lineBreak, output, (item, inner) => Write(item, style, inner, output)); break;
            case JinjaDict dict: WriteDict(dict, style, lineBreak, output); break;
            default: throw JinjaException.Type($"Object of type {JinjaOperators.TypeName(value)} is not JSON serializable");
        }
    }

    private void WriteDict(JinjaDict dict, Style style, string lineBreak, StringBuilder output)
    {
        IEnumerable<KeyValuePair<object, object?>> members = dict;
        if (style.SortKeys)
            members = dict.OrderBy(member => KeyText(member.Key), Comparer<string>.Create(JinjaOperators.CompareText));
        WriteItems(members.ToList(), '{', '}', style, lineBreak, output, (member, inner) =>
        {
            WriteText(KeyText(member.Key), style.Ascii, output);
            output.Append(style.KeySeparator);
            Write(member.Value, style, inner, output);
        });
    }

    private void WriteItems<T>(
        List<T> items, char open, char close, Style style, string lineBreak, StringBuilder output, Action<T, string> write)
    {
        output.Append(open);
        string inner = lineBreak + style.Indent;
        for (int i = 0; i < items.Count; i++)
        {
            if (i > 0)
                output.Append(style.ItemSeparator);
            if (style.Indent is not null)
                output.Append(inner);
            budget.Allocate(inner.Length);
            write(items[i], inner);
        }
        if (style.Indent is not null && items.Count > 0)
            output.Append(lineBreak);
        output.Append(close);
    }

    private static string KeyText(object key) => JinjaKeyComparer.ValueOf(key) switch
    {
        null => "null",
        bool truth => truth ? "true" : "false",
        long number => number.ToString(CultureInfo.InvariantCulture),
        double number => Number(number),
        var text => (string)text,
    };

    private static string Number(double value) => double.IsNaN(value) ? "NaN"
        : double.IsInfinity(value) ? value > 0 ? "Infinity" : "-Infinity"
        : PythonText.Float(value);

    private void WriteText(string text, bool ascii, StringBuilder output)
    {
        budget.Allocate(text.Length);
        output.Append('"');
        foreach (char unit in text)
        {
            switch (unit)
            {
                case '"': output.Append("\\\""); break;
                case '\\': output.Append("\\\\"); break;
                case '\n': output.Append("\\n"); break;
                case '\r': output.Append("\\r"); break;
                case '\t': output.Append("\\t"); break;
                case '\b': output.Append("\\b"); break;
                case '\f': output.Append("\\f"); break;
                case < ' ': output.Append($"\\u{(int)unit:x4}"); break;
                case > '~' when ascii: output.Append($"\\u{(int)unit:x4}"); break;
                default: output.Append(unit); break;
            }
        }
        output.Append('"');
    }
}
