using System.Text;

namespace Legato.Runtime.Data;

/// <summary>
/// The built-in corpus: stories of two to four sentences by <see cref="Grammar"/>, one a line, and sums by
/// <see cref="Sum"/>, one a line, shuffled into each other. Equal seeds give equal text.
/// </summary>
public static class Corpus
{
    /// <summary>Of ten characters, how many belong to sums.</summary>
    private const int SumTenths = 3;

    /// <summary>Text of about the given length, whole lines.</summary>
    public static string Write(long seed, int characters)
    {
        var random = new CounterRandom(seed, "corpus");
        ulong counter = 0;
        int Choose(int bound) => random.Below(counter++, bound);
        var text = new StringBuilder(characters + 512);
        int sums = 0;
        while (text.Length < characters)
        {
            int start = text.Length;
            if ((long)sums * 10 < (long)start * SumTenths)
            {
                for (int line = 2 + Choose(6); line > 0; line--)
                    AppendSum(text, Choose);
                sums += text.Length - start;
            }
            else
            {
                AppendStory(text, Choose);
            }
        }
        return text.ToString();
    }

    private static void AppendSum(StringBuilder text, Func<int, int> choose)
    {
        Sum sum;
        do
            sum = new Sum(Number(choose), Number(choose));
        while (sum.IsHeldOut);
        text.Append(sum.Prompt).Append(sum.Answer).Append('\n');
    }

    private static int Number(Func<int, int> choose) => Sum.Smallest + choose(Sum.Largest - Sum.Smallest + 1);

    private static void AppendStory(StringBuilder text, Func<int, int> choose)
    {
        int kind = choose(Grammar.HeroKinds);
        Grammar.Opening(kind).Write(text, choose);
        for (int more = 1 + choose(3); more > 0; more--)
        {
            text.Append(' ');
            Grammar.Continuation(kind).Write(text, choose);
        }
        text.Append('\n');
    }
}
