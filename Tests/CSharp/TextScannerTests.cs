using System.Text;
using Legato.Runtime.Text;
using Legato.Runtime.Text.Patterns;
using Legato.Runtime.Text.PreTokenizers;
using Legato.Runtime.Text.Scanners;
using NUnit.Framework;

namespace Legato.Tests;

/// <summary>The scanners written by hand against the general machine on the same patterns, and the machine by itself.</summary>
[TestFixture]
internal sealed class TextScannerTests
{
    [Test]
    public void ScannersSplitAsTheirPatternsSay([Values] SplitPattern pattern)
    {
        var random = new Random(7);
        var general = TextPattern.GeneralRegex(SplitPatterns.RegexOf(pattern));
        for (int i = 0; i < 3000; i++)
        {
            string text = TextFixtures.RandomText(random, random.Next(1, 30), wellFormed: true);
            var stretches = new List<Stretch>();
            general.Find(text, stretches);
            Assert.That(stretches.TrueForAll(stretch => stretch.IsMatch), Is.True, Escaped(text));
            Assert.That(PatternScan.Ends(pattern, text), Is.EqualTo(stretches.Select(stretch => stretch.End)), Escaped(text));
        }
    }

    [TestCase(@"\p{Han}+", "ab漢字c", "2-4")]
    [TestCase(@"(?i:straße|K)", "STRASSE straße \u212A k", "8-14 15-16 17-18")]
    [TestCase(@"(?i)'s", "'\u017F 'S", "0-2 3-5")]
    [TestCase(@"a(?=b)", "ab ac ab", "0-1 6-7")]
    [TestCase(@"(?<!x)y", "xy yy", "3-4 4-5")]
    [TestCase(@"(?>a+)b|a", "aaab aa", "0-4 5-6 6-7")]
    [TestCase(@"a{2,3}?", "aaaaa", "0-2 2-4")]
    [TestCase(@"[a-c&&[^b]]+", "abcacb", "0-1 2-5")]
    [TestCase(@"(ab|a)*c", "ababac", "0-6")]
    [TestCase(@"\s+$", "a \n b", "1-2")]
    [TestCase(@"^a", "a\na ba", "0-1 2-3")]
    [TestCase(@"\Aa", "a\na", "0-1")]
    [TestCase(@"a+\z", "aa\naaa", "3-6")]
    [TestCase(@"(?m)a.b", "a\nb", "0-3")]
    [TestCase(@"\bfoo\b", "foo food foo", "0-3 9-12")]
    [TestCase(@"[^\s\p{L}]+$", "ab 12!", "3-6")]
    [TestCase(@"(?:)*x", "x", "0-1")]
    [TestCase(@"[[:digit:]_]+", "a1_2b", "1-4")]
    [TestCase(@"\x{1F600}|\u00e9", "é😀", "0-1 1-3")]
    public void TheMachineMatches(string expression, string text, string expected)
    {
        var stretches = new List<Stretch>();
        TextPattern.GeneralRegex(expression).Find(text, stretches);
        Assert.That(string.Join(' ', stretches.Where(stretch => stretch.IsMatch).Select(stretch => $"{stretch.Start}-{stretch.End}")),
            Is.EqualTo(expected));
    }

    [TestCase("(")]
    [TestCase("a)")]
    [TestCase("[a")]
    [TestCase("*")]
    [TestCase(@"\p{Nonsense}")]
    [TestCase(@"(a)\1")]
    [TestCase("(?<=a+)b")]
    [TestCase("a{3,2}")]
    [TestCase("((((((((((a{999}){999}){999}){999}){999}))))))")]
    public void WhatCannotBeIsRefused(string expression) =>
        Assert.That(() => TextPattern.GeneralRegex(expression), Throws.InstanceOf<Legato.Runtime.LegatoException>());

    [Test]
    public void APatternThatExplodesIsAnErrorAndNotAHang()
    {
        var pattern = TextPattern.GeneralRegex("(a|a)*(a|aa)*b");
        Assert.That(() => pattern.Find(new string('a', 60), []), Throws.InstanceOf<Legato.Runtime.LegatoException>());
    }

    // .NET's machine reads the same patterns, but takes halves of surrogate pairs for characters, and has no long s for an s
    // where case doesn't count, as Unicode has.
    [Test]
    public void ScannersSplitAsTheMachineOfDotNetDoes([Values] SplitPattern pattern)
    {
        var random = new Random(8);
        var other = new System.Text.RegularExpressions.Regex(InDotNet(SplitPatterns.RegexOf(pattern)));
        for (int i = 0; i < 20_000; i++)
        {
            string text = string.Concat(TextFixtures.RandomText(random, random.Next(1, 30), wellFormed: true).Where(unit => !char.IsSurrogate(unit) && unit != '\u017F'));
            Assert.That(PatternScan.Ends(pattern, text), Is.EqualTo(other.Matches(text).Select(match => match.Index + match.Length)), Escaped(text));
        }
    }

    // Possessive quantifiers are atomic groups there.
    private static string InDotNet(string expression) => System.Text.RegularExpressions.Regex.Replace(
        expression, @"(\[(?:[^\]\\]|\\.)*\]|\\p\{\w+\}|\\[srn])([?+*]|\{\d+,\d+\})\+", "(?>$1$2)").Replace("\\s++$", "(?>\\s+)$");

    private static string Escaped(string text) =>
        string.Concat(text.EnumerateRunes().Select(rune => rune.Value is > 0x1F and < 0x7F ? rune.ToString() : $"\\u{{{rune.Value:X}}}"));
}
