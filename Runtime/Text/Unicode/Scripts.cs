namespace Legato.Runtime.Text.Unicode;

/// <summary>The script of each character (Unicode Standard Annex 24).</summary>
internal static partial class Scripts
{
    private static readonly string[] Known = Names.Split((char[])[' ', '\n'], StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries);
    private static readonly List<(int Start, int End, int Script)> Runs = ReadRuns();

    /// <summary>The number of a script by its name, or -1.</summary>
    public static int Find(string name) =>
        Array.FindIndex(Known, known => known.Equals(name.Replace(' ', '_'), StringComparison.OrdinalIgnoreCase));

    /// <summary>The name of a script.</summary>
    public static string NameOf(int script) => script < 0 ? "Unknown" : Known[script];

    /// <summary>The number of a character's script, or -1 when it has none.</summary>
    public static int Of(int codePoint)
    {
        int low = 0, high = Runs.Count - 1;
        while (low <= high)
        {
            int middle = (low + high) / 2;
            if (codePoint < Runs[middle].Start)
                high = middle - 1;
            else if (codePoint >= Runs[middle].End)
                low = middle + 1;
            else
                return Runs[middle].Script;
        }
        return -1;
    }

    private static List<(int, int, int)> ReadRuns()
    {
        var runs = new List<(int, int, int)>();
        var numbers = new PackedNumbers(Packed);
        int at = 0;
        for (int i = numbers.Next(); i > 0; i--)
        {
            int start = at + numbers.Next();
            at = start + numbers.Next();
            runs.Add((start, at, numbers.Next()));
        }
        return runs;
    }
}
