using System.Globalization;
using System.Text;
using static Legato.Runtime.Text.Patterns.PatternNode;

namespace Legato.Runtime.Text.Patterns;

/// <summary>
/// Parses the regular expressions that tokenizers ship with, as Oniguruma reads them, which tokenizer.json's own library
/// uses: ^ and $ stand at the ends of every line, and (?m) is what others write (?s).
/// What needs memory of earlier matches (back references, recursion) is refused.
/// </summary>
internal sealed class PatternParser
{
    private const int MaximumDepth = 64;
    private const int MaximumRepeat = 1000;

    private readonly string source;
    private int at;
    private int depth;
    private bool ignoreCase;
    private bool dotAll;
    private bool extended;

    private PatternParser(string source) => this.source = source;

    public static PatternNode Parse(string source)
    {
        var parser = new PatternParser(source);
        var node = parser.ParseChoice();
        return parser.at == source.Length ? node : throw parser.Wrong("has a ')' too many");
    }

    private bool More => at < source.Length;

    private PatternNode ParseChoice()
    {
        if (++depth > MaximumDepth)
            throw Wrong("nests too deeply");
        var (outerCase, outerDot, outerExtended) = (ignoreCase, dotAll, extended);
        var alternatives = new List<PatternNode> { ParseSequence() };
        while (More && source[at] == '|')
        {
            at++;
            alternatives.Add(ParseSequence());
        }
        (ignoreCase, dotAll, extended) = (outerCase, outerDot, outerExtended);
        depth--;
        return alternatives.Count == 1 ? alternatives[0] : new Choice(alternatives);
    }

    private PatternNode ParseSequence()
    {
        var items = new List<PatternNode>();
        while (More && source[at] is not ('|' or ')'))
        {
            if (extended && SkipInsignificant())
                continue;
            if (ParseAtom() is { } atom)
                items.Add(ParseQuantifiers(atom));
        }
        return items.Count == 1 ? items[0] : new Sequence(items);
    }

    private bool SkipInsignificant()
    {
        if (char.IsWhiteSpace(source[at]))
        {
            at++;
            return true;
        }
        if (source[at] != '#')
            return false;
        while (More && source[at] != '\n')
            at++;
        return true;
    }

    // Null for inline flags, which match nothing.
    private PatternNode? ParseAtom()
    {
        switch (source[at])
        {
            case '(':
                at++;
                return ParseGroup();
            case '[':
                at++;
                return new One(WithCase(ParseSet()));
            case '.':
                at++;
                return new One(dotAll ? CharacterSet.Any : CharacterSet.NotLineFeed);
            case '^':
                at++;
                return new Anchor(AnchorKind.LineStart);
            case '$':
                at++;
                return new Anchor(AnchorKind.LineEnd);
            case '*' or '+' or '?':
                throw Wrong("repeats nothing");
            case '\\':
                at++;
                return ParseEscape();
            default:
                int codePoint = NextCodePoint();
                return new One(WithCase(CharacterSet.Of(codePoint, codePoint)));
        }
    }

    private PatternNode? ParseGroup()
    {
        if (!Accept("?"))
            return CloseGroup(ParseChoice());
        if (Accept(":"))
            return CloseGroup(ParseChoice());
        if (Accept(">"))
            return CloseGroup(new Atomic(ParseChoice()));
        if (Accept("=") || Accept("!"))
            return CloseGroup(new Look(ParseNested(out bool negative), Behind: false, negative));
        if (Accept("<=") || Accept("<!"))
            return CloseGroup(new Look(ParseNested(out bool negative), Behind: true, negative));
        if (Accept("P<") || Accept("<"))
        {
            while (More && source[at] != '>')
                at++;
            at++;
            return CloseGroup(ParseChoice());
        }
        return ParseFlags();
    }

    private PatternNode ParseNested(out bool negative)
    {
        negative = source[at - 1] == '!';
        return ParseChoice();
    }

    private PatternNode CloseGroup(PatternNode node) => Accept(")") ? node : throw Wrong("lacks a ')'");

    private PatternNode? ParseFlags()
    {
        var (outerCase, outerDot, outerExtended) = (ignoreCase, dotAll, extended);
        bool on = true;
        for (; More && source[at] is not (':' or ')'); at++)
            switch (source[at])
            {
                case '-': on = false; break;
                case 'i': ignoreCase = on; break;
                case 's' or 'm': dotAll = on; break;
                case 'x': extended = on; break;
                case 'u': break;
                default: throw Wrong($"has the unknown flag '{source[at]}'");
            }
        if (Accept(")"))
            return null;
        if (!Accept(":"))
            throw Wrong("lacks a ')'");
        var node = CloseGroup(ParseChoice());
        (ignoreCase, dotAll, extended) = (outerCase, outerDot, outerExtended);
        return node;
    }

    private PatternNode ParseQuantifiers(PatternNode atom)
    {
        int quantifiers = 0;
        while (More)
        {
            int minimum, maximum;
            if (Accept("*"))
                (minimum, maximum) = (0, -1);
            else if (Accept("+"))
                (minimum, maximum) = (1, -1);
            else if (Accept("?"))
                (minimum, maximum) = (0, 1);
            else if (source[at] != '{' || !TryParseCounts(out minimum, out maximum))
                break;
            if (++quantifiers > 3)
                throw Wrong("stacks too many quantifiers");
            atom = new Repeat(atom, minimum, maximum, ParseGreed());
        }
        return atom;
    }

    private Greed ParseGreed()
    {
        if (Accept("?"))
            return Greed.Lazy;
        return Accept("+") ? Greed.Possessive : Greed.Greedy;
    }

    private bool TryParseCounts(out int minimum, out int maximum)
    {
        int start = at++;
        bool hasMinimum = TryParseNumber(out minimum);
        maximum = minimum;
        bool hasMaximum = hasMinimum;
        if (Accept(","))
        {
            hasMaximum = TryParseNumber(out maximum);
            if (!hasMaximum)
                maximum = -1;
        }
        if ((hasMinimum || hasMaximum) && Accept("}"))
        {
            if (minimum > MaximumRepeat || maximum > MaximumRepeat || maximum >= 0 && maximum < minimum)
                throw Wrong("repeats out of range");
            return true;
        }
        at = start;
        minimum = maximum = 0;
        if (hasMinimum)
            throw Wrong("has an unfinished repeat");
        return false;
    }

    private bool TryParseNumber(out int number)
    {
        int start = at;
        number = 0;
        for (; More && char.IsAsciiDigit(source[at]); at++)
            number = Math.Min(MaximumRepeat + 1, number * 10 + (source[at] - '0'));
        return at > start;
    }

    private PatternNode ParseEscape()
    {
        if (!More)
            throw Wrong("ends in a backslash");
        switch (source[at])
        {
            case 'b': at++; return new Anchor(AnchorKind.WordEdge);
            case 'B': at++; return new Anchor(AnchorKind.NotWordEdge);
            case 'A': at++; return new Anchor(AnchorKind.TextStart);
            case 'z': at++; return new Anchor(AnchorKind.TextEnd);
            case 'Z': at++; return new Anchor(AnchorKind.TextEndOrLastLine);
            case >= '1' and <= '9' or 'k' or 'g': throw Wrong("refers back to a group, which isn't supported");
        }
        if (ParseClassEscape() is { } set)
            return new One(WithCase(set));
        int codePoint = ParseCharacterEscape();
        return new One(WithCase(CharacterSet.Of(codePoint, codePoint)));
    }

    // \s, \p{…} and their like; null when the escape is a single character.
    private CharacterSet? ParseClassEscape()
    {
        char escape = source[at];
        var set = char.ToLowerInvariant(escape) switch
        {
            's' => CharacterSet.Space,
            'w' => CharacterSet.Word,
            'd' => CharacterSet.OfCategories(UnicodeCategory.DecimalDigitNumber),
            'h' => HexDigits(),
            'p' => null,
            _ => new CharacterSet(),
        };
        if (escape is 's' or 'w' or 'd' or 'h')
        {
            at++;
            return set;
        }
        if (escape is 'S' or 'W' or 'D' or 'H')
        {
            at++;
            return set!.Complement();
        }
        return escape is 'p' or 'P' ? ParseProperty() : null;
    }

    private static CharacterSet HexDigits()
    {
        var set = CharacterSet.Of('0', '9');
        set.AddRange('a', 'f');
        set.AddRange('A', 'F');
        return set;
    }

    private CharacterSet ParseProperty()
    {
        bool negated = source[at++] == 'P';
        string name;
        if (Accept("{"))
        {
            int end = source.IndexOf('}', at);
            if (end < 0)
                throw Wrong("has an unfinished property");
            name = source[at..end];
            at = end + 1;
        }
        else
        {
            name = More ? source[at++].ToString() : throw Wrong("has an unfinished property");
        }
        if (name.StartsWith('^'))
        {
            negated = !negated;
            name = name[1..];
        }
        var set = PropertyNames.Find(name) ?? throw Wrong($"names the unknown property '{name}'");
        return negated ? set.Complement() : set;
    }

    private int ParseCharacterEscape()
    {
        char escape = source[at++];
        switch (escape)
        {
            case 'n': return '\n';
            case 'r': return '\r';
            case 't': return '\t';
            case 'f': return '\f';
            case 'v': return '\v';
            case 'a': return '\a';
            case 'e': return 0x1B;
            case '0': return 0;
            case 'x': return Accept("{") ? ParseHex('}') : ParseHex(2);
            case 'u': return Accept("{") ? ParseHex('}') : ParseHex(4);
            case 'U': return ParseHex(8);
        }
        if (char.IsAsciiLetterOrDigit(escape))
            throw Wrong($"has the unknown escape '\\{escape}'");
        at--;
        return NextCodePoint();
    }

    private int ParseHex(char end)
    {
        int stop = source.IndexOf(end, at);
        if (stop < 0)
            throw Wrong("has an unfinished escape");
        int value = HexValue(source[at..stop]);
        at = stop + 1;
        return value;
    }

    private int ParseHex(int digits)
    {
        if (at + digits > source.Length)
            throw Wrong("has an unfinished escape");
        int value = HexValue(source.Substring(at, digits));
        at += digits;
        return value;
    }

    private int HexValue(string digits) =>
        int.TryParse(digits, NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out int value) && value is >= 0 and <= 0x10FFFF
            ? value
            : throw Wrong($"has the wrong code point '{digits}'");

    private CharacterSet ParseSet()
    {
        if (++depth > MaximumDepth)
            throw Wrong("nests too deeply");
        bool negated = Accept("^");
        var set = new CharacterSet { IgnoreCase = ignoreCase };
        bool first = true;
        while (true)
        {
            if (!More)
                throw Wrong("lacks a ']'");
            if (source[at] == ']' && !first)
                break;
            first = false;
            if (Accept("&&"))
            {
                set.Intersect(ParseRestOfSet());
                break;
            }
            ParseSetItem(set);
        }
        at++;
        depth--;
        // The complement is of the whole, intersections included.
        set.Negated = negated;
        return set;
    }

    // What stands behind && up to the bracket, as a set of its own; leaves the bracket.
    private CharacterSet ParseRestOfSet()
    {
        var set = new CharacterSet { IgnoreCase = ignoreCase };
        while (More && source[at] != ']')
        {
            if (Accept("&&"))
            {
                set.Intersect(ParseRestOfSet());
                break;
            }
            ParseSetItem(set);
        }
        return More ? set : throw Wrong("lacks a ']'");
    }

    private void ParseSetItem(CharacterSet set)
    {
        if (Accept("[:"))
        {
            set.Add(ParsePosix());
            return;
        }
        if (Accept("["))
        {
            set.Add(ParseSet());
            return;
        }
        if (source[at] == '\\')
        {
            at++;
            if (!More)
                throw Wrong("ends in a backslash");
            if (source[at] != 'b' && ParseClassEscape() is { } member)
            {
                set.Add(member);
                return;
            }
            at--;
        }
        int start = ParseSetCharacter(), end = start;
        if (at + 1 < source.Length && source[at] == '-' && source[at + 1] is not (']' or '['))
        {
            at++;
            end = ParseSetCharacter();
            if (end < start)
                throw Wrong("has a range that runs backwards");
        }
        set.AddRange(start, end);
    }

    private int ParseSetCharacter()
    {
        if (!Accept("\\"))
            return NextCodePoint();
        if (!More)
            throw Wrong("ends in a backslash");
        if (source[at] == 'b')
        {
            at++;
            return '\b';
        }
        return ParseCharacterEscape();
    }

    private CharacterSet ParsePosix()
    {
        int end = source.IndexOf(":]", at, StringComparison.Ordinal);
        if (end < 0)
            throw Wrong("has an unfinished class");
        string name = source[at..end];
        at = end + 2;
        bool negated = name.StartsWith('^');
        var set = PropertyNames.Find(negated ? name[1..] : name) ?? throw Wrong($"names the unknown class '{name}'");
        return negated ? set.Complement() : set;
    }

    private CharacterSet WithCase(CharacterSet set)
    {
        set.IgnoreCase |= ignoreCase;
        return set;
    }

    private int NextCodePoint()
    {
        if (Rune.DecodeFromUtf16(source.AsSpan(at), out var rune, out int length) != System.Buffers.OperationStatus.Done)
            throw Wrong("has a lone surrogate");
        at += length;
        return rune.Value;
    }

    private bool Accept(string text)
    {
        if (string.CompareOrdinal(source, at, text, 0, text.Length) != 0)
            return false;
        at += text.Length;
        return true;
    }

    private LegatoException Wrong(string what) => new($"the regular expression {what}", $"position {at} of {source}",
        "see the syntax that Oniguruma and Rust's regex share");
}
