using System.Text;

namespace Legato.Runtime.Text;

/// <summary>
/// The lines of a stream of strict UTF-8, without their ends and without a byte order mark before the first. A line that is no
/// UTF-8 is a mistake of its own: those behind it can still be read. It is read by lines alone.
/// </summary>
public sealed class Utf8Lines(Stream stream) : TextReader
{
    private static readonly UTF8Encoding Strict = new(encoderShouldEmitUTF8Identifier: false, throwOnInvalidBytes: true);

    private readonly byte[] chunk = new byte[1 << 16];
    private readonly MemoryStream line = new();
    private int next, filled;
    private bool isFirst = true;

    /// <exception cref="LegatoException">The line is no UTF-8.</exception>
    public override string? ReadLine()
    {
        line.SetLength(0);
        bool ended = false, isThere = false;
        while (!ended && Fill())
        {
            isThere = true;
            ReadOnlySpan<byte> rest = chunk.AsSpan(next, filled - next);
            int end = rest.IndexOf((byte)'\n');
            ended = end >= 0;
            line.Write(ended ? rest[..end] : rest);
            next += ended ? end + 1 : rest.Length;
        }
        return isThere ? Decode(line.GetBuffer().AsSpan(0, (int)line.Length)) : null;
    }

    public override int Read() => throw new NotSupportedException("the text is read by lines");

    public override int Peek() => throw new NotSupportedException("the text is read by lines");

    protected override void Dispose(bool disposing)
    {
        if (disposing)
            stream.Dispose();
        base.Dispose(disposing);
    }

    private bool Fill()
    {
        if (next < filled)
            return true;
        (next, filled) = (0, stream.Read(chunk));
        return filled > 0;
    }

    private string Decode(ReadOnlySpan<byte> bytes)
    {
        if (isFirst && bytes.StartsWith(Encoding.UTF8.Preamble))
            bytes = bytes[Encoding.UTF8.Preamble.Length..];
        isFirst = false;
        if (bytes.EndsWith("\r"u8))
            bytes = bytes[..^1];
        try
        {
            return Strict.GetString(bytes);
        }
        catch (DecoderFallbackException error)
        {
            throw new LegatoException("the line is no UTF-8 text", null, "convert it to UTF-8", error);
        }
    }
}
