using System.Globalization;
using System.Text;

namespace Legato.Runtime.Text.Chat;

/// <summary>
/// Splits a template into tokens, with white space controlled as chat templates expect it: the line break behind a
/// block tag goes (trim_blocks), and so does the space before one that opens a line (lstrip_blocks).
/// </summary>
internal sealed class JinjaLexer
{
    private static readonly string[] Operators =
        ["**", "//", "==", "!=", ">=", "<=", "+", "-", "/", "*", "%", "~", "[", "]", "(", ")", "{", "}", ">", "<", "=", ".", ":", "|", ",", ";"];

    private readonly string source;
    private readonly List<JinjaToken> tokens = [];
    private int at;
    private int line = 1;

    // Whether the text at hand begins a line of the template.
    private bool lineStarting = true;

    private JinjaLexer(string source) => this.source = source;

    public static List<JinjaToken> Tokenize(string template)
    {
        string source = template.ReplaceLineEndings("\n");
        if (source.EndsWith('\n'))
            source = source[..^1];
        var lexer = new JinjaLexer(source);
        lexer.Run();
        return lexer.tokens;
    }

    private void Run()
    {
        while (at < source.Length)
        {
            int tag = NextTag();
            if (tag < 0)
            {
                AddData(source[at..]);
                break;
            }
            AddTextBefore(tag);
            at = tag;
            switch (source[at + 1])
            {
                case '#': SkipComment(); break;
                case '{': LexTag(JinjaTokenKind.VariableBegin, JinjaTokenKind.VariableEnd, "}}"); break;
                default: LexBlock(); break;
            }
        }
        Add(JinjaTokenKind.End, "");
    }

    private int NextTag()
    {
        for (int i = source.IndexOf('{', at); i >= 0 && i + 1 < source.Length; i = source.IndexOf('{', i + 1))
            if (source[i + 1] is '{' or '%' or '#')
                return i;
        return -1;
    }

    private void AddTextBefore(int tag)
    {
        string text = source[at..tag];
        char sign = tag + 2 < source.Length ? source[tag + 2] : '\0';
        int lines = text.Count('\n');
        if (sign == '-')
        {
            text = text.TrimEnd();
        }
        else if (sign != '+' && source[tag + 1] != '{')
        {
            int lineStart = text.LastIndexOf('\n') + 1;
            if ((lineStart > 0 || lineStarting) && string.IsNullOrWhiteSpace(text[lineStart..]))
                text = text[..lineStart];
        }
        if (text.Length > 0)
            Add(JinjaTokenKind.Data, text);
        line += lines;
    }

    private void AddData(string text)
    {
        if (text.Length > 0)
            Add(JinjaTokenKind.Data, text);
        at = source.Length;
    }

    private void SkipComment()
    {
        int end = source.IndexOf("#}", at + 2, StringComparison.Ordinal);
        if (end < 0)
            throw JinjaException.Syntax("Missing end of comment tag", line);
        Advance(end);
        char sign = source[end - 1];
        Advance(end + 2);
        EndTag(sign, trimsLineBreak: true);
    }

    private void LexBlock()
    {
        int name = at + 2;
        while (name < source.Length && (source[name] is '-' or '+' || char.IsWhiteSpace(source[name])))
            name++;
        if (string.CompareOrdinal(source, name, "raw", 0, 3) == 0 && TryLexRaw(name + 3))
            return;
        LexTag(JinjaTokenKind.BlockBegin, JinjaTokenKind.BlockEnd, "%}");
    }

    // Everything up to the end tag is text.
    private bool TryLexRaw(int from)
    {
        int close = from;
        while (close < source.Length && (source[close] is '-' or '+' || char.IsWhiteSpace(source[close])))
            close++;
        if (string.CompareOrdinal(source, close, "%}", 0, 2) != 0)
            return false;
        int startLine = line;
        Advance(close + 2);
        EndTag(source[close - 1], trimsLineBreak: true);
        for (int end = at; (end = source.IndexOf("{%", end, StringComparison.Ordinal)) >= 0; end += 2)
        {
            int name = end + 2;
            while (name < source.Length && (source[name] is '-' or '+' || char.IsWhiteSpace(source[name])))
                name++;
            if (string.CompareOrdinal(source, name, "endraw", 0, 6) != 0)
                continue;
            int tagEnd = source.IndexOf("%}", name, StringComparison.Ordinal);
            if (tagEnd < 0)
                break;
            AddTextBefore(end);
            at = end;
            Advance(tagEnd + 2);
            EndTag(source[tagEnd - 1], trimsLineBreak: true);
            return true;
        }
        throw JinjaException.Syntax("Missing end of raw directive", startLine);
    }

    private void LexTag(JinjaTokenKind begin, JinjaTokenKind end, string closing)
    {
        Add(begin, "");
        at += 2;
        if (at < source.Length && source[at] is '-' or '+')
            at++;
        var open = new Stack<char>();
        while (true)
        {
            SkipSpace();
            if (at >= source.Length)
                throw JinjaException.Syntax("unexpected end of template", line);
            if (open.Count == 0 && TryClose(closing, out char sign))
            {
                Add(end, "");
                EndTag(sign, trimsLineBreak: end == JinjaTokenKind.BlockEnd);
                return;
            }
            LexExpressionToken(open);
        }
    }

    private bool TryClose(string closing, out char sign)
    {
        sign = source[at];
        if (sign is '-' or '+' && string.CompareOrdinal(source, at + 1, closing, 0, 2) == 0 && !(sign == '+' && closing == "}}"))
        {
            at += 3;
            return true;
        }
        if (string.CompareOrdinal(source, at, closing, 0, 2) != 0)
            return false;
        sign = '\0';
        at += 2;
        return true;
    }

    private void EndTag(char sign, bool trimsLineBreak)
    {
        int start = at;
        if (sign == '-')
            SkipSpace();
        else if (trimsLineBreak && sign != '+' && at < source.Length && source[at] == '\n')
            Advance(at + 1);
        lineStarting = at > start && source[at - 1] == '\n';
    }

    private void LexExpressionToken(Stack<char> open)
    {
        char first = source[at];
        if (first is '\'' or '"')
            LexString(first);
        else if (char.IsAsciiDigit(first))
            LexNumber();
        else if (first == '_' || char.IsLetter(first))
            LexName();
        else
            LexOperator(open);
    }

    private void LexName()
    {
        int start = at;
        while (at < source.Length && (source[at] == '_' || char.IsLetterOrDigit(source[at])))
            at++;
        Add(JinjaTokenKind.Name, source[start..at]);
    }

    private void LexOperator(Stack<char> open)
    {
        foreach (string text in Operators)
        {
            if (string.CompareOrdinal(source, at, text, 0, text.Length) != 0)
                continue;
            Balance(text[0], open);
            Add(JinjaTokenKind.Operator, text);
            at += text.Length;
            return;
        }
        throw JinjaException.Syntax($"unexpected char '{source[at]}' at {at}", line);
    }

    private void Balance(char bracket, Stack<char> open)
    {
        switch (bracket)
        {
            case '(': open.Push(')'); break;
            case '[': open.Push(']'); break;
            case '{': open.Push('}'); break;
            case ')' or ']' or '}':
                if (!open.TryPop(out char expected))
                    throw JinjaException.Syntax($"unexpected '{bracket}'", line);
                if (expected != bracket)
                    throw JinjaException.Syntax($"unexpected '{bracket}', expected '{expected}'", line);
                break;
        }
    }

    private void LexNumber()
    {
        int start = at;
        if (source[at] == '0' && at + 1 < source.Length && char.ToLowerInvariant(source[at + 1]) is 'x' or 'o' or 'b')
        {
            LexRadix();
            return;
        }
        SkipDigits();
        bool isFloat = false;
        if (at + 1 < source.Length && source[at] == '.' && char.IsAsciiDigit(source[at + 1]))
        {
            isFloat = true;
            at++;
            SkipDigits();
        }
        if (at < source.Length && source[at] is 'e' or 'E')
        {
            int exponent = at + 1;
            if (exponent < source.Length && source[exponent] is '+' or '-')
                exponent++;
            if (exponent < source.Length && char.IsAsciiDigit(source[exponent]))
            {
                isFloat = true;
                at = exponent;
                SkipDigits();
            }
        }
        Add(isFloat ? JinjaTokenKind.Float : JinjaTokenKind.Integer, source[start..at].Replace("_", ""));
    }

    private void LexRadix()
    {
        int radix = char.ToLowerInvariant(source[at + 1]) switch { 'x' => 16, 'o' => 8, _ => 2 };
        at += 2;
        int start = at;
        while (at < source.Length && (char.IsAsciiHexDigit(source[at]) || source[at] == '_'))
            at++;
        try
        {
            Add(JinjaTokenKind.Integer, Convert.ToInt64(source[start..at].Replace("_", ""), radix).ToString(CultureInfo.InvariantCulture));
        }
        catch (Exception error) when (error is FormatException or OverflowException or ArgumentException)
        {
            throw JinjaException.Syntax("this is not a number", line);
        }
    }

    private void SkipDigits()
    {
        while (at < source.Length && (char.IsAsciiDigit(source[at]) || source[at] == '_'))
            at++;
    }

    private void LexString(char quote)
    {
        int startLine = line;
        var text = new StringBuilder();
        for (at++; at < source.Length && source[at] != quote;)
        {
            if (source[at] == '\n')
                line++;
            if (source[at] == '\\' && at + 1 < source.Length)
                LexEscape(text);
            else
                text.Append(source[at++]);
        }
        if (at >= source.Length)
            throw JinjaException.Syntax("unexpected end of a string", startLine);
        at++;
        tokens.Add(new JinjaToken(JinjaTokenKind.String, text.ToString(), startLine));
    }

    // Python's escapes; an unknown one stands for itself, backslash and all.
    private void LexEscape(StringBuilder text)
    {
        char escape = source[at + 1];
        at += 2;
        switch (escape)
        {
            case '\n': line++; break;
            case '\\' or '\'' or '"': text.Append(escape); break;
            case 'n': text.Append('\n'); break;
            case 't': text.Append('\t'); break;
            case 'r': text.Append('\r'); break;
            case 'b': text.Append('\b'); break;
            case 'f': text.Append('\f'); break;
            case 'v': text.Append('\v'); break;
            case 'a': text.Append('\a'); break;
            case 'x': LexCodePoint(text, 2); break;
            case 'u': LexCodePoint(text, 4); break;
            case 'U': LexCodePoint(text, 8); break;
            case >= '0' and <= '7': LexOctal(text); break;
            default: text.Append('\\').Append(escape); break;
        }
    }

    private void LexCodePoint(StringBuilder text, int digits)
    {
        if (at + digits > source.Length
            || !int.TryParse(source.AsSpan(at, digits), NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out int value)
            || (uint)value > 0x10FFFF)
            throw JinjaException.Syntax("a string has a damaged escape", line);
        at += digits;
        if (value < 0x10000)
            text.Append((char)value);
        else
            text.Append(char.ConvertFromUtf32(value));
    }

    private void LexOctal(StringBuilder text)
    {
        int value = 0;
        at--;
        for (int i = 0; i < 3 && at < source.Length && source[at] is >= '0' and <= '7'; i++)
            value = value * 8 + (source[at++] - '0');
        text.Append((char)value);
    }

    private void SkipSpace()
    {
        for (; at < source.Length && char.IsWhiteSpace(source[at]); at++)
            if (source[at] == '\n')
                line++;
    }

    private void Advance(int to)
    {
        line += source.AsSpan(at, to - at).Count('\n');
        at = to;
    }

    private void Add(JinjaTokenKind kind, string text) => tokens.Add(new JinjaToken(kind, text, line));
}
