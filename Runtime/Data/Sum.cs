using System.Globalization;

namespace Legato.Runtime.Data;

/// <summary>
/// Sums of two two-digit numbers, as the built-in corpus writes them: "37+48=85", plain, most significant digit first.
/// A tenth of the pairs never occurs in the corpus, in either order, so that getting them right is more than memory.
/// </summary>
public readonly record struct Sum(int Left, int Right)
{
    public const int Smallest = 10;
    public const int Largest = 99;

    /// <summary>The most characters of an answer.</summary>
    public const int AnswerLength = 3;

    /// <summary>What a model is given: "37+48=".</summary>
    public string Prompt => string.Create(CultureInfo.InvariantCulture, $"{Left}+{Right}=");

    /// <summary>What it should say: "85".</summary>
    public string Answer => (Left + Right).ToString(CultureInfo.InvariantCulture);

    /// <summary>Whether the pair is kept out of the corpus.</summary>
    public bool IsHeldOut =>
        CounterRandom.Mix((ulong)(Math.Min(Left, Right) * 100 + Math.Max(Left, Right)) + 0x9E3779B97F4A7C15) % 10 == 0;

    /// <summary>All pairs that the corpus never shows.</summary>
    public static IReadOnlyList<Sum> HeldOut { get; } =
    [
        .. from left in Enumerable.Range(Smallest, Largest - Smallest + 1)
           from right in Enumerable.Range(Smallest, Largest - Smallest + 1)
           let sum = new Sum(left, right)
           where sum.IsHeldOut
           select sum,
    ];

    /// <summary>Reads a line such as "37+48=85"; whether it is a sum, and whether it is right.</summary>
    public static bool TryParse(ReadOnlySpan<char> line, out Sum sum, out bool isRight)
    {
        (sum, isRight) = (default, false);
        if (line.Length < 7 || line[2] != '+' || line[5] != '=')
            return false;
        if (!TwoDigits(line[..2], out int left) || !TwoDigits(line[3..5], out int right))
            return false;
        sum = new Sum(left, right);
        isRight = line[6..].SequenceEqual(sum.Answer);
        return true;
    }

    private static bool TwoDigits(ReadOnlySpan<char> text, out int number) =>
        int.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out number) && number >= Smallest;
}
