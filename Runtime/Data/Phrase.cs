using System.Text;

namespace Legato.Runtime.Data;

/// <summary>
/// A phrase of a finite grammar: the same tree writes text at random and tells whether text could have been written by it.
/// </summary>
public abstract class Phrase
{
    private Phrase()
    {
    }

    public static implicit operator Phrase(string text) => new Literal(text);

    /// <summary>One of the phrases, each as likely.</summary>
    public static Phrase Either(params IEnumerable<Phrase> options) => new Alternatives([.. options]);

    /// <summary>The phrases one after another.</summary>
    public static Phrase Then(params IEnumerable<Phrase> parts) => new Chain([.. parts]);

    /// <summary>Appends one text of the phrase; <paramref name="choose"/> gives a number below its argument.</summary>
    public abstract void Write(StringBuilder text, Func<int, int> choose);

    /// <summary>Whether the whole text is one of the phrase's.</summary>
    public bool Accepts(ReadOnlySpan<char> text)
    {
        var ends = new SortedSet<int>();
        Match(text, 0, ends);
        return ends.Contains(text.Length);
    }

    /// <summary>Adds every place where a text of the phrase that starts at <paramref name="start"/> can end.</summary>
    protected abstract void Match(ReadOnlySpan<char> text, int start, SortedSet<int> ends);

    private sealed class Literal(string literal) : Phrase
    {
        public override void Write(StringBuilder text, Func<int, int> choose) => text.Append(literal);

        protected override void Match(ReadOnlySpan<char> text, int start, SortedSet<int> ends)
        {
            if (text[start..].StartsWith(literal))
                ends.Add(start + literal.Length);
        }
    }

    private sealed class Alternatives(Phrase[] options) : Phrase
    {
        public override void Write(StringBuilder text, Func<int, int> choose) => options[choose(options.Length)].Write(text, choose);

        protected override void Match(ReadOnlySpan<char> text, int start, SortedSet<int> ends)
        {
            foreach (Phrase option in options)
                option.Match(text, start, ends);
        }
    }

    private sealed class Chain(Phrase[] parts) : Phrase
    {
        public override void Write(StringBuilder text, Func<int, int> choose)
        {
            foreach (Phrase part in parts)
                part.Write(text, choose);
        }

        protected override void Match(ReadOnlySpan<char> text, int start, SortedSet<int> ends)
        {
            var reached = new SortedSet<int> { start };
            foreach (Phrase part in parts)
            {
                var next = new SortedSet<int>();
                foreach (int place in reached)
                    part.Match(text, place, next);
                reached = next;
            }
            ends.UnionWith(reached);
        }
    }
}
