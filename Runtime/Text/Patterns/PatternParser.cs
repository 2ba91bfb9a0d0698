using static Legato.Runtime.Text.Patterns.PatternNode;

namespace Legato.Runtime.Text.Patterns;

/// <summary>
/// Parses the regular expressions that tokenizers ship with, as Oniguruma reads them, which tokenizer.json's own library
/// uses: ^ and $ stand at the ends of every line, and (?m) is what others write (?s).
/// What needs memory of earlier matches (back references, recursion) is refused.
/// </summary>
internal sealed class PatternParser
{
    private const int MaximumRepeat = 1000;

    private readonly PatternReader reader;
    private readonly PatternSetParser sets;
    private bool ignoreCase;
    private bool dotAll;
    private bool extended;

    private PatternParser(string source)
    {
        reader = new PatternReader(source);
        sets = new PatternSetParser(reader);
    }

    public static PatternNode Parse(string source)
    {
        var parser = new PatternParser(source);
        var node = parser.ParseChoice();
        return parser.reader.More ? throw parser.reader.Wrong("has a ')' too many") : node;
    }

    private PatternNode ParseChoice()
    {
        reader.Enter();
        var (outerCase, outerDot, outerExtended) = (ignoreCase, dotAll, extended);
        var alternatives = new List<PatternNode> { ParseSequence() };
        while (reader.More && reader.Current == '|')
        {
            reader.Skip();
            alternatives.Add(ParseSequence());
        }
        (ignoreCase, dotAll, extended) = (outerCase, outerDot, outerExtended);
        reader.Leave();
        return alternatives.Count == 1 ? alternatives[0] : new Choice(alternatives);
    }

    private PatternNode ParseSequence()
    {
        var items = new List<PatternNode>();
        while (reader.More && reader.Current is not ('|' or ')'))
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
        if (char.IsWhiteSpace(reader.Current))
        {
            reader.Skip();
            return true;
        }
        if (reader.Current != '#')
            return false;
        reader.SkipTo('\n');
        return true;
    }

    // Null for inline flags, which match nothing.
    private PatternNode? ParseAtom()
    {
        switch (reader.Current)
        {
            case '(':
                reader.Skip();
                return ParseGroup();
            case '[':
                reader.Skip();
                return new One(WithCase(sets.ParseSet(ignoreCase)));
            case '.':
                reader.Skip();
                return new One(dotAll ? CharacterSet.Any : CharacterSet.NotLineFeed);
            case '^':
                reader.Skip();
                return new Anchor(AnchorKind.LineStart);
            case '$':
                reader.Skip();
                return new Anchor(AnchorKind.LineEnd);
            case '*' or '+' or '?':
                throw reader.Wrong("repeats nothing");
            case '\\':
                reader.Skip();
                return ParseEscape();
            default:
                int codePoint = reader.NextCodePoint();
                return new One(WithCase(CharacterSet.Of(codePoint, codePoint)));
        }
    }

    private PatternNode? ParseGroup()
    {
        if (!reader.Accept("?"))
            return CloseGroup(ParseChoice());
        if (reader.Accept(":"))
            return CloseGroup(ParseChoice());
        if (reader.Accept(">"))
            return CloseGroup(new Atomic(ParseChoice()));
        if (reader.Accept("=") || reader.Accept("!"))
            return CloseGroup(new Look(ParseNested(out bool negative), Behind: false, negative));
        if (reader.Accept("<=") || reader.Accept("<!"))
            return CloseGroup(new Look(ParseNested(out bool negative), Behind: true, negative));
        if (reader.Accept("P<") || reader.Accept("<"))
        {
            reader.SkipTo('>');
            reader.Skip();
            return CloseGroup(ParseChoice());
        }
        return ParseFlags();
    }

    private PatternNode ParseNested(out bool negative)
    {
        negative = reader.Before == '!';
        return ParseChoice();
    }

    private PatternNode CloseGroup(PatternNode node) => reader.Accept(")") ? node : throw reader.Wrong("lacks a ')'");

    private PatternNode? ParseFlags()
    {
        var (outerCase, outerDot, outerExtended) = (ignoreCase, dotAll, extended);
        bool on = true;
        for (; reader.More && reader.Current is not (':' or ')'); reader.Skip())
            switch (reader.Current)
            {
                case '-': on = false; break;
                case 'i': ignoreCase = on; break;
                case 's' or 'm': dotAll = on; break;
                case 'x': extended = on; break;
                case 'u': break;
                default: throw reader.Wrong($"has the unknown flag '{reader.Current}'");
            }
        if (reader.Accept(")"))
            return null;
        if (!reader.Accept(":"))
            throw reader.Wrong("lacks a ')'");
        var node = CloseGroup(ParseChoice());
        (ignoreCase, dotAll, extended) = (outerCase, outerDot, outerExtended);
        return node;
    }

    private PatternNode ParseQuantifiers(PatternNode atom)
    {
        int quantifiers = 0;
        while (reader.More)
        {
            int minimum, maximum;
            if (reader.Accept("*"))
                (minimum, maximum) = (0, -1);
            else if (reader.Accept("+"))
                (minimum, maximum) = (1, -1);
            else if (reader.Accept("?"))
                (minimum, maximum) = (0, 1);
            else if (reader.Current != '{' || !TryParseCounts(out minimum, out maximum))
                break;
            if (++quantifiers > 3)
                throw reader.Wrong("stacks too many quantifiers");
            atom = new Repeat(atom, minimum, maximum, ParseGreed());
        }
        return atom;
    }

    private Greed ParseGreed()
    {
        if (reader.Accept("?"))
            return Greed.Lazy;
        return reader.Accept("+") ? Greed.Possessive : Greed.Greedy;
    }

    private bool TryParseCounts(out int minimum, out int maximum)
    {
        int start = reader.Mark;
        reader.Skip();
        bool hasMinimum = reader.TryReadNumber(MaximumRepeat, out minimum);
        maximum = minimum;
        bool hasMaximum = hasMinimum;
        if (reader.Accept(","))
        {
            hasMaximum = reader.TryReadNumber(MaximumRepeat, out maximum);
            if (!hasMaximum)
                maximum = -1;
        }
        if ((hasMinimum || hasMaximum) && reader.Accept("}"))
        {
            if (minimum > MaximumRepeat || maximum > MaximumRepeat || maximum >= 0 && maximum < minimum)
                throw reader.Wrong("repeats out of range");
            return true;
        }
        reader.Return(start);
        minimum = maximum = 0;
        if (hasMinimum)
            throw reader.Wrong("has an unfinished repeat");
        return false;
    }

    private PatternNode ParseEscape()
    {
        if (!reader.More)
            throw reader.Wrong("ends in a backslash");
        switch (reader.Current)
        {
            case 'b': reader.Skip(); return new Anchor(AnchorKind.WordEdge);
            case 'B': reader.Skip(); return new Anchor(AnchorKind.NotWordEdge);
            case 'A': reader.Skip(); return new Anchor(AnchorKind.TextStart);
            case 'z': reader.Skip(); return new Anchor(AnchorKind.TextEnd);
            case 'Z': reader.Skip(); return new Anchor(AnchorKind.TextEndOrLastLine);
            case >= '1' and <= '9' or 'k' or 'g': throw reader.Wrong("refers back to a group, which isn't supported");
        }
        if (sets.ParseClassEscape() is { } set)
            return new One(WithCase(set));
        int codePoint = reader.ReadCharacterEscape();
        return new One(WithCase(CharacterSet.Of(codePoint, codePoint)));
    }

    private CharacterSet WithCase(CharacterSet set)
    {
        set.IgnoreCase |= ignoreCase;
        return set;
    }
}
