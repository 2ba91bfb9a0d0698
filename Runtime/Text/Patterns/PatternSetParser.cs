using System.Globalization;

namespace Legato.Runtime.Text.Patterns;

/// <summary>Parses sets of characters: in brackets, with ranges, intersections and POSIX classes, and escapes that stand for a set.</summary>
internal sealed class PatternSetParser(PatternReader reader)
{
    /// <summary>A set in brackets, behind the opening one.</summary>
    public CharacterSet ParseSet(bool ignoreCase)
    {
        reader.Enter();
        bool negated = reader.Accept("^");
        var set = new CharacterSet { IgnoreCase = ignoreCase };
        bool first = true;
        while (true)
        {
            if (!reader.More)
                throw reader.Wrong("lacks a ']'");
            if (reader.Current == ']' && !first)
                break;
            first = false;
            if (reader.Accept("&&"))
            {
                set.Intersect(ParseRestOfSet(ignoreCase));
                break;
            }
            ParseSetItem(set, ignoreCase);
        }
        reader.Skip();
        reader.Leave();
        // The complement is of the whole, intersections included.
        set.Negated = negated;
        return set;
    }

    // What stands behind && up to the bracket, as a set of its own; leaves the bracket.
    private CharacterSet ParseRestOfSet(bool ignoreCase)
    {
        var set = new CharacterSet { IgnoreCase = ignoreCase };
        while (reader.More && reader.Current != ']')
        {
            if (reader.Accept("&&"))
            {
                set.Intersect(ParseRestOfSet(ignoreCase));
                break;
            }
            ParseSetItem(set, ignoreCase);
        }
        return reader.More ? set : throw reader.Wrong("lacks a ']'");
    }

    private void ParseSetItem(CharacterSet set, bool ignoreCase)
    {
        if (reader.Accept("[:"))
        {
            set.Add(ParsePosix());
            return;
        }
        if (reader.Accept("["))
        {
            set.Add(ParseSet(ignoreCase));
            return;
        }
        if (reader.Current == '\\')
        {
            reader.Skip();
            if (!reader.More)
                throw reader.Wrong("ends in a backslash");
            if (reader.Current != 'b' && ParseClassEscape() is { } member)
            {
                set.Add(member);
                return;
            }
            reader.Return(reader.Mark - 1);
        }
        int start = ParseSetCharacter(), end = start;
        if (reader.IsAhead(1, next => next is not (']' or '[')) && reader.Current == '-')
        {
            reader.Skip();
            end = ParseSetCharacter();
            if (end < start)
                throw reader.Wrong("has a range that runs backwards");
        }
        set.AddRange(start, end);
    }

    private int ParseSetCharacter()
    {
        if (!reader.Accept("\\"))
            return reader.NextCodePoint();
        if (!reader.More)
            throw reader.Wrong("ends in a backslash");
        if (reader.Current == 'b')
        {
            reader.Skip();
            return '\b';
        }
        return reader.ReadCharacterEscape();
    }

    private CharacterSet ParsePosix()
    {
        string name = reader.UpTo(":]", "class");
        bool negated = name.StartsWith('^');
        var set = PropertyNames.Find(negated ? name[1..] : name) ?? throw reader.Wrong($"names the unknown class '{name}'");
        return negated ? set.Complement() : set;
    }

    /// <summary>\s, \p{…} and their like, behind the backslash; null when the escape is a single character.</summary>
    public CharacterSet? ParseClassEscape()
    {
        char escape = reader.Current;
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
            reader.Skip();
            return set;
        }
        if (escape is 'S' or 'W' or 'D' or 'H')
        {
            reader.Skip();
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
        bool negated = reader.Current == 'P';
        reader.Skip();
        string name;
        if (reader.Accept("{"))
        {
            name = reader.UpTo("}", "property");
        }
        else
        {
            name = reader.More ? reader.Current.ToString() : throw reader.Wrong("has an unfinished property");
            reader.Skip();
        }
        if (name.StartsWith('^'))
        {
            negated = !negated;
            name = name[1..];
        }
        var set = PropertyNames.Find(name) ?? throw reader.Wrong($"names the unknown property '{name}'");
        return negated ? set.Complement() : set;
    }
}
