using System.Buffers;
using System.Text;

namespace Legato.Runtime.Text.Scanners;

/// <summary>Runs a hand-written scanner over a whole text.</summary>
internal static class PatternScan
{
    /// <summary>The end of the piece that starts at <paramref name="start"/>.</summary>
    /// <param name="padded">Well-formed UTF-8 followed by <see cref="Runs.Padding"/> zero bytes.</param>
    public static int End(SplitPattern pattern, ReadOnlySpan<byte> padded, int start) => pattern switch
    {
        SplitPattern.Gpt2 => Gpt2Scanner.End(padded, start),
        SplitPattern.Cl100k => Cl100kScanner<Cl100kVariant>.End(padded, start),
        SplitPattern.Llama3 => Cl100kScanner<Llama3Variant>.End(padded, start),
        SplitPattern.Qwen2 => Cl100kScanner<Qwen2Variant>.End(padded, start),
        _ => O200kScanner.End(padded, start),
    };

    /// <summary>Where the pieces of a UTF-16 text end, in UTF-16 code units.</summary>
    public static List<int> Ends(SplitPattern pattern, ReadOnlySpan<char> text)
    {
        var ends = new List<int>();
        byte[] buffer = ArrayPool<byte>.Shared.Rent(Encoding.UTF8.GetMaxByteCount(text.Length) + Runs.Padding);
        int length = Encoding.UTF8.GetBytes(text, buffer);
        buffer.AsSpan(length, Runs.Padding).Clear();
        var padded = buffer.AsSpan(0, length + Runs.Padding);
        int end = 0;
        for (int start = 0; start < length;)
        {
            int next = End(pattern, padded, start);
            end += Encoding.UTF8.GetCharCount(padded[start..next]);
            ends.Add(end);
            start = next;
        }
        ArrayPool<byte>.Shared.Return(buffer);
        return ends;
    }
}
