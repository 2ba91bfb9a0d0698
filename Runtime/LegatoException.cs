namespace Legato.Runtime;

/// <summary>
/// A mistake that the user can mend: what is wrong, where, and what to do about it.
/// Every error that input can cause leaves the runtime as this type; anything else is a defect of Legato.
/// </summary>
public class LegatoException : Exception
{
    public LegatoException(string what, string? where = null, string? remedy = null, Exception? inner = null)
        : base(Compose(what, where, remedy), inner) => (What, Where, Remedy) = (what, where, remedy);

    /// <summary>What is wrong, in one sentence.</summary>
    public string What { get; }

    /// <summary>Where: a file and line, a parameter's path, a key, an axis.</summary>
    public string? Where { get; }

    /// <summary>What to do about it.</summary>
    public string? Remedy { get; }

    private static string Compose(string what, string? where, string? remedy) =>
        what + (where is null ? "" : $"\n  where: {where}") + (remedy is null ? "" : $"\n  remedy: {remedy}");
}
