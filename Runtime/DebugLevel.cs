using System.Globalization;

namespace Legato.Runtime;

/// <summary>
/// The environment variable LEGATO_DEBUG: 1 shows plans, 2 kernels as they are compiled, 3 compiler passes,
/// 4 the time of each step.
/// </summary>
public static class DebugLevel
{
    public const string Variable = "LEGATO_DEBUG";

    private static readonly string? Text = Environment.GetEnvironmentVariable(Variable);

    // An initialiser that throws would break every later use of the class, and hide the reason.
    private static readonly int? Given = Read(Text);

    /// <exception cref="LegatoException">The variable holds no level.</exception>
    public static int Current => Given ?? throw new LegatoException($"'{Text}' is no debug level", Variable, "choose 0 to 4, or unset it");

    internal static bool ShowsKernels => Given == 2;

    internal static bool ShowsTimes => Given == 4;

    private static int? Read(string? text) => string.IsNullOrEmpty(text) ? 0
        : int.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out int level) && level <= 4 ? level
        : null;
}
