using System.Globalization;
using static System.Globalization.UnicodeCategory;

namespace Legato.Runtime.Text.Patterns;

/// <summary>The names that <c>\p{…}</c> and <c>[:…:]</c> take.</summary>
internal static class PropertyNames
{
    private static readonly Dictionary<string, UnicodeCategory[]> Categories = new(StringComparer.OrdinalIgnoreCase)
    {
        ["L"] = [UppercaseLetter, LowercaseLetter, TitlecaseLetter, ModifierLetter, OtherLetter],
        ["LC"] = [UppercaseLetter, LowercaseLetter, TitlecaseLetter],
        ["Lu"] = [UppercaseLetter],
        ["Ll"] = [LowercaseLetter],
        ["Lt"] = [TitlecaseLetter],
        ["Lm"] = [ModifierLetter],
        ["Lo"] = [OtherLetter],
        ["M"] = [NonSpacingMark, SpacingCombiningMark, EnclosingMark],
        ["Mn"] = [NonSpacingMark],
        ["Mc"] = [SpacingCombiningMark],
        ["Me"] = [EnclosingMark],
        ["N"] = [DecimalDigitNumber, LetterNumber, OtherNumber],
        ["Nd"] = [DecimalDigitNumber],
        ["Nl"] = [LetterNumber],
        ["No"] = [OtherNumber],
        ["P"] = [ConnectorPunctuation, DashPunctuation, OpenPunctuation, ClosePunctuation, InitialQuotePunctuation, FinalQuotePunctuation, OtherPunctuation],
        ["Pc"] = [ConnectorPunctuation],
        ["Pd"] = [DashPunctuation],
        ["Ps"] = [OpenPunctuation],
        ["Pe"] = [ClosePunctuation],
        ["Pi"] = [InitialQuotePunctuation],
        ["Pf"] = [FinalQuotePunctuation],
        ["Po"] = [OtherPunctuation],
        ["S"] = [MathSymbol, CurrencySymbol, ModifierSymbol, OtherSymbol],
        ["Sm"] = [MathSymbol],
        ["Sc"] = [CurrencySymbol],
        ["Sk"] = [ModifierSymbol],
        ["So"] = [OtherSymbol],
        ["Z"] = [SpaceSeparator, LineSeparator, ParagraphSeparator],
        ["Zs"] = [SpaceSeparator],
        ["Zl"] = [LineSeparator],
        ["Zp"] = [ParagraphSeparator],
        ["C"] = [Control, Format, Surrogate, PrivateUse, OtherNotAssigned],
        ["Cc"] = [Control],
        ["Cf"] = [Format],
        ["Cs"] = [Surrogate],
        ["Co"] = [PrivateUse],
        ["Cn"] = [OtherNotAssigned],
        ["Alpha"] = [UppercaseLetter, LowercaseLetter, TitlecaseLetter, ModifierLetter, OtherLetter, LetterNumber],
        ["Alphabetic"] = [UppercaseLetter, LowercaseLetter, TitlecaseLetter, ModifierLetter, OtherLetter, LetterNumber],
        ["Letter"] = [UppercaseLetter, LowercaseLetter, TitlecaseLetter, ModifierLetter, OtherLetter],
        ["Number"] = [DecimalDigitNumber, LetterNumber, OtherNumber],
        ["Digit"] = [DecimalDigitNumber],
        ["Punct"] = [ConnectorPunctuation, DashPunctuation, OpenPunctuation, ClosePunctuation, InitialQuotePunctuation, FinalQuotePunctuation, OtherPunctuation],
        ["Punctuation"] = [ConnectorPunctuation, DashPunctuation, OpenPunctuation, ClosePunctuation, InitialQuotePunctuation, FinalQuotePunctuation, OtherPunctuation],
        ["Cntrl"] = [Control],
        ["Upper"] = [UppercaseLetter],
        ["Lower"] = [LowercaseLetter],
        ["Alnum"] = [UppercaseLetter, LowercaseLetter, TitlecaseLetter, ModifierLetter, OtherLetter, LetterNumber, DecimalDigitNumber],
    };

    /// <summary>The set of a property, or null for an unknown name.</summary>
    public static CharacterSet? Find(string name)
    {
        int equals = name.IndexOf('=');
        string key = equals < 0 ? "" : name[..equals], value = name[(equals + 1)..];
        if (key is "" or "gc" or "General_Category" && Categories.TryGetValue(value, out _))
        {
            if (Categories.TryGetValue(value, out var categories))
                return CharacterSet.OfCategories(categories);
        }
        if (value.Equals("space", StringComparison.OrdinalIgnoreCase) || value.Equals("White_Space", StringComparison.OrdinalIgnoreCase))
            return CharacterSet.Space;
        if (value.Equals("word", StringComparison.OrdinalIgnoreCase))
            return CharacterSet.Word;
        if (value.Equals("any", StringComparison.OrdinalIgnoreCase))
            return CharacterSet.Any;
        return key is "" or "sc" or "Script" or "script" && Unicode.Scripts.Find(value) is var script and >= 0
            ? CharacterSet.OfScript(script)
            : null;
    }
}
