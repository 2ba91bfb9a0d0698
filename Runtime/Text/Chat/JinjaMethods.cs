using System.Globalization;
using System.Text;

namespace Legato.Runtime.Text.Chat;

/// <summary>
/// The methods of strings, lists and mappings that templates may call. Those that would change a value aren't among
/// them: templates are sandboxed.
/// </summary>
internal sealed class JinjaMethods(JinjaBudget budget, JinjaOperators operators, PythonText text)
{
    /// <summary>The method of a value by its name, or null.</summary>
    public JinjaCallable? Find(object? value, string name)
    {
        Func<JinjaCall, object?>? body = value switch
        {
            string characters => OfText(characters, name),
            JinjaDict dict => OfDict(dict, name),
            JinjaList list => OfList(list, name),
            _ => null,
        };
        return body is null ? null : new JinjaCallable(name, call =>
        {
            object? result = body(call);
            budget.Allocate(result is string made ? made.Length : 1);
            return result;
        });
    }

    private Func<JinjaCall, object?>? OfText(string value, string name)
    {
        budget.Step(value.Length >> 6);
        return name switch
        {
            "strip" => call => Strip(value, call, true, true),
            "lstrip" => call => Strip(value, call, true, false),
            "rstrip" => call => Strip(value, call, false, true),
            "upper" => _ => value.ToUpperInvariant(),
            "lower" or "casefold" => _ => value.ToLowerInvariant(),
            "title" => _ => Title(value),
            "capitalize" => _ => Capitalize(value),
            "swapcase" => _ => string.Concat(value.Select(unit => char.IsUpper(unit) ? char.ToLowerInvariant(unit) : char.ToUpperInvariant(unit))),
            "replace" => call => Replace(value, call.Text(0, "old"), call.Text(1, "new"), call.Int(2, "count", -1)),
            "split" => call => Split(value, call.Get(0, "sep", null), call.Int(1, "maxsplit", -1), fromRight: false),
            "rsplit" => call => Split(value, call.Get(0, "sep", null), call.Int(1, "maxsplit", -1), fromRight: true),
            "splitlines" => call => SplitLines(value, JinjaOperators.Truth(call.Get(0, "keepends", false))),
            "startswith" => call => Affix(value, call, (part, affix) => part.StartsWith(affix, StringComparison.Ordinal)),
            "endswith" => call => Affix(value, call, (part, affix) => part.EndsWith(affix, StringComparison.Ordinal)),
            "removeprefix" => call => call.Text(0, "prefix") is var prefix && value.StartsWith(prefix, StringComparison.Ordinal) ? value[prefix.Length..] : value,
            "removesuffix" => call => call.Text(0, "suffix") is var suffix && suffix.Length > 0 && value.EndsWith(suffix, StringComparison.Ordinal) ? value[..^suffix.Length] : value,
            "find" => call => (long)CodePoints.IndexFrom(value, value.IndexOf(call.Text(0, "sub"), StringComparison.Ordinal)),
            "rfind" => call => (long)CodePoints.IndexFrom(value, value.LastIndexOf(call.Text(0, "sub"), StringComparison.Ordinal)),
            "index" => call => Found(value, value.IndexOf(call.Text(0, "sub"), StringComparison.Ordinal)),
            "rindex" => call => Found(value, value.LastIndexOf(call.Text(0, "sub"), StringComparison.Ordinal)),
            "count" => call => Count(value, call.Text(0, "sub")),
            "join" => call => string.Join(value, operators.Iterate(call.Require(0, "iterable")).Select(item => Charge(RequireText(item)))),
            "partition" => call => Partition(value, call.Text(0, "sep"), value.IndexOf(call.Text(0, "sep"), StringComparison.Ordinal), false),
            "rpartition" => call => Partition(value, call.Text(0, "sep"), value.LastIndexOf(call.Text(0, "sep"), StringComparison.Ordinal), true),
            "center" => call => Pad(value, call, 0),
            "ljust" => call => Pad(value, call, -1),
            "rjust" => call => Pad(value, call, 1),
            "zfill" => call => ZeroFill(value, Width(call.Int(0, "width"))),
            "isdigit" or "isdecimal" or "isnumeric" => _ => All(value, Rune.IsDigit),
            "isalpha" => _ => All(value, Rune.IsLetter),
            "isalnum" => _ => All(value, Rune.IsLetterOrDigit),
            "isspace" => _ => All(value, Rune.IsWhiteSpace),
            "isupper" => _ => value.Any(char.IsUpper) && !value.Any(char.IsLower),
            "islower" => _ => value.Any(char.IsLower) && !value.Any(char.IsUpper),
            "format" => call => Format(value, call),
            _ => null,
        };
    }

    private static Func<JinjaCall, object?>? OfDict(JinjaDict value, string name) => name switch
    {
        "get" => call => value.TryGetValue(JinjaKeyComparer.KeyOf(call.Require(0, "key")), out object? found) ? found : call.Get(1, "default", null),
        "items" => _ => new JinjaList(value.Select(object? (member) =>
            new JinjaList([JinjaKeyComparer.ValueOf(member.Key), member.Value]) { IsTuple = true })),
        "keys" => _ => new JinjaList(value.Keys.Select(JinjaKeyComparer.ValueOf)),
        "values" => _ => new JinjaList(value.Values),
        "copy" => _ => Copy(value),
        "pop" or "update" or "clear" or "setdefault" or "popitem" => throw Unsafe(name, "dict"),
        _ => null,
    };

    private Func<JinjaCall, object?>? OfList(JinjaList value, string name) => name switch
    {
        "index" => call => (long)value.FindIndex(item => operators.AreEqual(item, call.Require(0, "value"))) is var at && (long)at >= 0
            ? at : throw new JinjaException("ValueError", "the value is not in the list", call.Line),
        "count" => call => (long)value.Count(item => operators.AreEqual(item, call.Require(0, "value"))),
        "copy" => _ => new JinjaList(value) { IsTuple = value.IsTuple },
        "append" or "extend" or "insert" or "pop" or "remove" or "clear" or "sort" or "reverse" => throw Unsafe(name, "list"),
        _ => null,
    };

    private static JinjaException Unsafe(string name, string type) =>
        new("SecurityError", $"access to attribute '{name}' of '{type}' object is unsafe.");

    private static JinjaDict Copy(JinjaDict value)
    {
        var copy = new JinjaDict();
        foreach (var (key, item) in value)
            copy[key] = item;
        return copy;
    }

    public static string Strip(string value, JinjaCall call, bool left, bool right)
    {
        object? characters = call.Get(0, "chars", null);
        if (characters is string set)
        {
            value = left ? value.TrimStart(set.ToCharArray()) : value;
            return right ? value.TrimEnd(set.ToCharArray()) : value;
        }
        value = left ? value.TrimStart() : value;
        return right ? value.TrimEnd() : value;
    }

    public static string Capitalize(string value) => value.Length == 0 ? value : char.ToUpperInvariant(value[0]) + value[1..].ToLowerInvariant();

    public static string Title(string value)
    {
        var title = new StringBuilder(value.Length);
        bool inside = false;
        foreach (char unit in value)
        {
            title.Append(inside ? char.ToLowerInvariant(unit) : char.ToUpperInvariant(unit));
            inside = char.IsLetter(unit);
        }
        return title.ToString();
    }

    public string Replace(string value, string old, string replacement, long count)
    {
        var output = new StringBuilder();
        int at = 0;
        for (long done = 0; count < 0 || done < count; done++)
        {
            int found = old.Length == 0 ? (done == 0 ? 0 : at + 1 <= value.Length ? at + 1 : -1) : value.IndexOf(old, at, StringComparison.Ordinal);
            if (found < 0)
                break;
            output.Append(value, at, found - at).Append(replacement);
            budget.Allocate(found - at + replacement.Length);
            at = found + old.Length;
        }
        return output.Append(value, at, value.Length - at).ToString();
    }

    private JinjaList Split(string value, object? separator, long limit, bool fromRight)
    {
        budget.Allocate(value.Length);
        var parts = separator is null
            ? SplitAtSpace(value, limit, fromRight)
            : SplitAt(value, RequireSeparator(separator), limit, fromRight);
        budget.Allocate(parts.Count);
        return new JinjaList(parts);
    }

    private static string RequireSeparator(object separator) => separator switch
    {
        string { Length: > 0 } characters => characters,
        string => throw new JinjaException("ValueError", "empty separator"),
        _ => throw JinjaException.Type($"must be str or None, not {JinjaOperators.TypeName(separator)}"),
    };

    private static List<string> SplitAt(string value, string separator, long limit, bool fromRight)
    {
        var parts = new List<string>();
        if (!fromRight)
        {
            int at = 0;
            for (int found; (limit < 0 || parts.Count < limit) && (found = value.IndexOf(separator, at, StringComparison.Ordinal)) >= 0; at = found + separator.Length)
                parts.Add(value[at..found]);
            parts.Add(value[at..]);
            return parts;
        }
        string rest = value;
        for (int found; (limit < 0 || parts.Count < limit) && (found = rest.LastIndexOf(separator, StringComparison.Ordinal)) >= 0; rest = rest[..found])
            parts.Add(rest[(found + separator.Length)..]);
        parts.Add(rest);
        parts.Reverse();
        return parts;
    }

    private static List<string> SplitAtSpace(string value, long limit, bool fromRight)
    {
        var words = value.Split((char[]?)null, StringSplitOptions.RemoveEmptyEntries);
        if (limit < 0 || words.Length <= limit + 1)
            return [.. words];
        if (fromRight)
        {
            string rest = value.TrimEnd();
            var tail = words[^(int)limit..];
            for (int i = tail.Length - 1; i >= 0; i--)
                rest = rest[..rest.LastIndexOf(tail[i], StringComparison.Ordinal)].TrimEnd();
            return [rest, .. tail];
        }
        string remainder = value.TrimStart();
        for (int i = 0; i < limit; i++)
            remainder = remainder[words[i].Length..].TrimStart();
        return [.. words[..(int)limit], remainder];
    }

    private static JinjaList SplitLines(string value, bool keepEnds)
    {
        var lines = new JinjaList();
        int start = 0;
        for (int at = 0; at < value.Length; at++)
        {
            if (value[at] is not ('\n' or '\r' or '\v' or '\f' or '\x1c' or '\x1d' or '\x1e' or '\x85' or '\u2028' or '\u2029'))
                continue;
            int end = value[at] == '\r' && at + 1 < value.Length && value[at + 1] == '\n' ? at + 2 : at + 1;
            lines.Add(value[start..(keepEnds ? end : at)]);
            start = end;
            at = end - 1;
        }
        if (start < value.Length)
            lines.Add(value[start..]);
        return lines;
    }

    private static object Affix(string value, JinjaCall call, Func<string, string, bool> matches) => call.Require(0, "prefix") switch
    {
        string affix => matches(value, affix),
        JinjaList { IsTuple: true } several => several.Any(affix => matches(value, RequireText(affix))),
        var other => throw JinjaException.Type($"startswith first arg must be str or a tuple of str, not {JinjaOperators.TypeName(other)}"),
    };

    private static object Found(string value, int index) => index >= 0
        ? (long)CodePoints.IndexFrom(value, index)
        : throw new JinjaException("ValueError", "substring not found");

    private static object Count(string value, string part)
    {
        if (part.Length == 0)
            return (long)CodePoints.Length(value) + 1;
        long count = 0;
        for (int at = 0; (at = value.IndexOf(part, at, StringComparison.Ordinal)) >= 0; at += part.Length)
            count++;
        return count;
    }

    private static JinjaList Partition(string value, string separator, int found, bool fromRight)
    {
        if (separator.Length == 0)
            throw new JinjaException("ValueError", "empty separator");
        if (found < 0)
            return new JinjaList(fromRight ? ["", "", value] : [value, "", ""]) { IsTuple = true };
        return new JinjaList([value[..found], separator, value[(found + separator.Length)..]]) { IsTuple = true };
    }

    private string Pad(string value, JinjaCall call, int side)
    {
        int width = Width(call.Int(0, "width"));
        char fill = call.Text(1, "fillchar", " ") is [var only] ? only : throw JinjaException.Type("The fill character must be exactly one character long");
        int missing = Math.Max(0, width - CodePoints.Length(value));
        int left = side switch { < 0 => 0, > 0 => missing, _ => missing / 2 + (missing & width & 1) };
        return new string(fill, left) + value + new string(fill, missing - left);
    }

    private string ZeroFill(string value, int width)
    {
        string sign = value.Length > 0 && value[0] is '+' or '-' ? value[..1] : "";
        return sign + new string('0', Math.Max(0, width - value.Length)) + value[sign.Length..];
    }

    // A width is memory: it is counted before it is used.
    private int Width(long width)
    {
        budget.Allocate(Math.Max(0, width));
        return (int)Math.Max(0, width);
    }

    private static object All(string value, Func<Rune, bool> holds)
    {
        foreach (var rune in value.EnumerateRunes())
            if (!holds(rune))
                return false;
        return value.Length > 0;
    }

    // Fields by position or name, without format specifications or access to members.
    private string Format(string value, JinjaCall call)
    {
        var output = new StringBuilder();
        int automatic = 0;
        for (int at = 0; at < value.Length; at++)
        {
            char unit = value[at];
            if (unit is '{' or '}' && at + 1 < value.Length && value[at + 1] == unit)
            {
                output.Append(unit);
                at++;
                continue;
            }
            if (unit == '}')
                throw new JinjaException("ValueError", "Single '}' encountered in format string", call.Line);
            if (unit != '{')
            {
                output.Append(unit);
                continue;
            }
            int end = value.IndexOf('}', at);
            if (end < 0)
                throw new JinjaException("ValueError", "expected '}' before end of string", call.Line);
            output.Append(Charge(text.Str(Field(value[(at + 1)..end], call, ref automatic))));
            at = end;
        }
        return output.ToString();
    }

    private static object? Field(string name, JinjaCall call, ref int automatic)
    {
        if (name.Length == 0)
            name = (automatic++).ToString(CultureInfo.InvariantCulture);
        if (int.TryParse(name, NumberStyles.None, CultureInfo.InvariantCulture, out int index))
            return index < call.Positional.Count
                ? call.Positional[index]
                : throw new JinjaException("IndexError", "Replacement index out of range for positional args tuple", call.Line);
        return call.Named.TryGetValue(name, out object? value) ? value : throw new JinjaException("KeyError", $"'{name}'", call.Line);
    }

    private static string RequireText(object? value) => value as string
        ?? throw JinjaException.Type($"expected str instance, {JinjaOperators.TypeName(value)} found");

    private string Charge(string made)
    {
        budget.Allocate(made.Length);
        return made;
    }
}
