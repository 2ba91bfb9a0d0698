using System.Globalization;

namespace Legato.Runtime;

/// <summary>
/// The environment variable LEGATO_DEBUG: 1 shows plans, 2 kernels as they are compiled, 3 compiler passes,
/// 4 the time of each step.
/// </summary>
public static class DebugLevel
{
    public const string Variable = "LEGATO_DEBUG";

    public static int Current { get; } = Read(Environment.GetEnvironmentVariable(Variable));

    internal static bool ShowsKernels => Current == 2;

    internal static bool ShowsTimes => Current == 4;

    private static int Read(string? text)
    {
        if (string.IsNullOrEmpty(text))
            return 0;
        return int.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out int level) && level <= 4
            ? level
            : throw new LegatoException($"'{text}' is no debug level", Variable, "choose 0 to 4, or unset it");
    }
}
