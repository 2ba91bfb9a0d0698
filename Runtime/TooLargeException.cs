namespace Legato.Runtime;

/// <summary>
/// What was asked for is larger than a machine holds, a product takes or a number counts. Who knows by which settings it was asked for
/// names them as the remedy.
/// </summary>
public sealed class TooLargeException(string what, string? where = null, string? remedy = null, Exception? inner = null)
    : LegatoException(what, where, remedy, inner);
