using static Legato.Runtime.Data.Phrase;

namespace Legato.Runtime.Data;

/// <summary>
/// The grammar of the built-in corpus: sentences of children's stories. Words agree, some of them far apart: a pronoun
/// and a possessive with the hero's gender and number, "it" and "them" with how many things there were, "was" and "were",
/// "a" and "an" with the sound that follows.
/// </summary>
public static class Grammar
{
    private static readonly Phrase Thing = Either(
        "ball", "boat", "kite", "hat", "drum", "bell", "lamp", "cake", "apple", "egg", "orange", "umbrella");

    private static readonly Phrase OneThing = Either(
        Then("a ", Either("ball", "boat", "kite", "hat", "drum", "bell", "lamp", "cake")),
        Then("an ", Either("apple", "egg", "orange", "umbrella")),
        Then("a ", Either("red", "blue", "green", "tiny", "big", "shiny"), " ", Thing),
        Then("an ", Either("old", "empty", "odd", "ugly"), " ", Thing));

    private static readonly Phrase Look = Either("red", "blue", "green", "tiny", "big", "shiny", "old", "empty", "odd", "ugly");

    private static readonly Phrase SomeThings = Then(Either("two", "three", "four", "many"), " ", Either("", Then(Look, " ")), Thing, "s");

    private static readonly Phrase Place = Either(
        "near the river", "under the tree", "behind the hill", "by the sea", "in the garden", "at the market", "in the barn", "on the bridge");

    private static readonly Phrase Time = Either("One day", "In the morning", "After lunch", "At night", "Last week");

    private static readonly Phrase Glad = Either("happy", "glad", "proud");

    private static readonly Phrase Sad = Either("sad", "cross", "afraid");

    private static readonly Hero[] Heroes =
    [
        new(["Tom", "Ben", "Sam", "the prince", "the old king"], "he", "his", "him", "was"),
        new(["Mia", "Lily", "Zoe", "the queen", "the little girl"], "she", "her", "her", "was"),
        new(["the twins", "the children", "the small foxes", "the ducks"], "they", "their", "them", "were"),
    ];

    private static readonly Phrase Someone = Either(Heroes.Select(hero => hero.Named));

    private static readonly Phrase[] Openings = [.. Heroes.Select(hero => About(hero, hero.Named, hero.Capital))];

    private static readonly Phrase[] Continuations = [.. Heroes.Select(hero => About(hero, hero.Pronoun, hero.CapitalPronoun))];

    private static readonly Phrase Sentence = Either([.. Openings, .. Continuations]);

    /// <summary>How many kinds of hero there are.</summary>
    public static int HeroKinds => Heroes.Length;

    /// <summary>Whether the text is exactly one sentence of the grammar, its full stop included.</summary>
    public static bool Accepts(ReadOnlySpan<char> sentence) => Sentence.Accepts(sentence);

    /// <summary>A story's first sentence: it names its hero, who is of the given kind.</summary>
    public static Phrase Opening(int kind) => Openings[kind];

    /// <summary>A later sentence of the story: the hero is a pronoun.</summary>
    public static Phrase Continuation(int kind) => Continuations[kind];

    // The hero is called by name or by pronoun: subject inside a sentence, and at its start.
    private static Phrase About(Hero hero, Phrase subject, Phrase capital)
    {
        Phrase start = Either(capital, Then(Time, ", ", subject));
        return Either(
        [
            .. Counted((thing, it) => Then(start, " found ", thing, " ", Place, " and took ", it, " home.")),
            .. Counted((thing, it) => Then(start, " lost ", thing, " ", Place, ", but ", Someone, " found ", it, ".")),
            .. Counted((thing, it) => Then(start, " had ", thing, ", but ", hero.Pronoun, " could not find ", it, ".")),
            .. Counted((thing, it) => Then("When ", subject, " saw ", thing, " ", Place, ", ", hero.Pronoun, " wanted to paint ", it, ".")),
            Then(start, " ", hero.Was, " ", Sad, " because ", Someone, " had taken ", hero.Possessive, " ", Thing, "."),
            Then(start, " ", hero.Was, " so ", Glad, " with ", hero.Possessive, " ", Look, " ", Thing, " that ", hero.Pronoun, " sang all day."),
            .. Heroes.Select(other => Then(
                start, " gave ", Either(OneThing, SomeThings), " to ", other.Named, ", and ", other.Pronoun, " thanked ", hero.Accusative, ".")),
            .. Heroes.Select(other => Then(
                start, " said to ", other.Named, ", \"Come with me,\" and ", other.Pronoun, " went ", Place, ".")),
        ]);
    }

    // A pattern once with one thing, which is "it" later, and once with several, which are "them".
    private static Phrase[] Counted(Func<Phrase, Phrase, Phrase> pattern) => [pattern(OneThing, "it"), pattern(SomeThings, "them")];

    private static string Capitalised(string text) => char.ToUpperInvariant(text[0]) + text[1..];

    /// <summary>A kind of hero: the names, and the words that must agree with them.</summary>
    private sealed class Hero(string[] names, string pronoun, string possessive, string accusative, string was)
    {
        public Phrase Named { get; } = Either(names.Select(name => (Phrase)name));

        public Phrase Capital { get; } = Either(names.Select(name => (Phrase)Capitalised(name)));

        public Phrase Pronoun => pronoun;

        public Phrase CapitalPronoun { get; } = Capitalised(pronoun);

        public Phrase Possessive => possessive;

        public Phrase Accusative => accusative;

        public Phrase Was => was;
    }
}
