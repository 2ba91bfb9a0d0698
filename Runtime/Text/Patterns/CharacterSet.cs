using System.Globalization;
using System.Text;
using Legato.Runtime.Text.Unicode;

namespace Legato.Runtime.Text.Patterns;

/// <summary>A set of code points: ranges, categories, scripts, and other sets.</summary>
internal sealed class CharacterSet
{
    private const int LongS = 0x17F;
    private const byte Unknown = 0, Inside = 1, Outside = 2;

    private readonly List<(int Start, int End)> ranges = [];
    private readonly List<CharacterSet> members = [];
    private readonly List<CharacterSet> required = [];
    private readonly byte[] ascii = new byte[0x80];
    private byte[]? plane0;
    private uint categories;
    private int script = -1;
    private bool word;
    private bool space;

    /// <summary>Turns the set into its complement.</summary>
    public bool Negated { get; set; }

    /// <summary>Whether a letter is in the set when any case of it is.</summary>
    public bool IgnoreCase { get; set; }

    public static CharacterSet Any => new() { Negated = true };

    public static CharacterSet NotLineFeed => Of('\n', '\n').Complement();

    public static CharacterSet Space => new() { space = true };

    public static CharacterSet Word => new() { word = true };

    public static CharacterSet Of(int start, int end)
    {
        var set = new CharacterSet();
        set.AddRange(start, end);
        return set;
    }

    public static CharacterSet OfCategories(params ReadOnlySpan<UnicodeCategory> wanted)
    {
        var set = new CharacterSet();
        foreach (var category in wanted)
            set.categories |= 1u << (int)category;
        return set;
    }

    public static CharacterSet OfScript(int number) => new() { script = number };

    public void AddRange(int start, int end) => ranges.Add((start, end));

    public void Add(CharacterSet member) => members.Add(member);

    /// <summary>Narrows the set to what is also in another.</summary>
    public void Intersect(CharacterSet other) => required.Add(other);

    public CharacterSet Complement()
    {
        Negated = !Negated;
        return this;
    }

    public bool Contains(int codePoint)
    {
        if ((uint)codePoint >= 0x10000)
            return Compute(codePoint);
        byte[] answers = codePoint < 0x80 ? ascii : plane0 ??= new byte[0x10000];
        byte answer = answers[codePoint];
        if (answer == Unknown)
            answers[codePoint] = answer = Compute(codePoint) ? Inside : Outside;
        return answer == Inside;
    }

    private bool Compute(int codePoint)
    {
        bool inside = ComputeCase(codePoint);
        foreach (var other in required)
            inside &= other.Contains(codePoint);
        return inside != Negated;
    }

    private bool ComputeCase(int codePoint)
    {
        if (Lists(codePoint))
            return true;
        if (!IgnoreCase || !Rune.IsValid(codePoint))
            return false;
        // The invariant mapping leaves the long s alone, which folds to s.
        var lower = codePoint == LongS ? new Rune('s') : Rune.ToLowerInvariant(new Rune(codePoint));
        var upper = Rune.ToUpperInvariant(lower);
        return Lists(lower.Value) || Lists(upper.Value) || Lists(Rune.ToUpperInvariant(new Rune(codePoint)).Value)
            || Lists(Rune.ToLowerInvariant(upper).Value);
    }

    private bool Lists(int codePoint)
    {
        foreach (var (start, end) in ranges)
            if (codePoint >= start && codePoint <= end)
                return true;
        foreach (var member in members)
            if (member.Contains(codePoint))
                return true;
        return categories != 0 && (categories & 1u << (int)CharUnicodeInfo.GetUnicodeCategory(codePoint)) != 0
            || space && (CharacterClasses.Of(codePoint) & CharacterClass.Space) != 0
            || word && Words.IsWordCharacter(codePoint)
            || script >= 0 && Scripts.Of(codePoint) == script;
    }
}
