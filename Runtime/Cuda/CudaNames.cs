using System.Globalization;

namespace Legato.Runtime.Cuda;

/// <summary>Identifiers of CUDA C++ for the names of the kernel IR, each once in a kernel.</summary>
internal sealed class CudaNames
{
    private readonly Dictionary<string, int> taken = new(StringComparer.Ordinal);

    /// <summary>A new identifier that reminds of a name: it ends in an underscore and a number, as no word of the language does.</summary>
    public string Fresh(string name)
    {
        string stem = string.Concat(name.Select(c => char.IsAsciiLetterOrDigit(c) ? c : '_'));
        if (stem.Length == 0 || !char.IsAsciiLetter(stem[0]))
            stem = "n" + stem;
        int number = taken[stem] = taken.GetValueOrDefault(stem) + 1;
        return string.Create(CultureInfo.InvariantCulture, $"{stem}_{number}");
    }
}
