namespace Legato.Runtime.Text.Pipeline;

/// <summary>Builds an <see cref="AlignedText"/> character by character.</summary>
internal sealed class AlignedTextBuilder(int capacity)
{
    private char[] chars = new char[Math.Max(capacity, 16)];
    private TextSpan[] sources = new TextSpan[Math.Max(capacity, 16)];

    public int Length { get; private set; }

    public void Append(char value, TextSpan source)
    {
        if (Length == chars.Length)
            Grow(Length + 1);
        chars[Length] = value;
        sources[Length++] = source;
    }

    public void Append(ReadOnlySpan<char> text, TextSpan source)
    {
        if (Length + text.Length > chars.Length)
            Grow(Length + text.Length);
        text.CopyTo(chars.AsSpan(Length));
        sources.AsSpan(Length, text.Length).Fill(source);
        Length += text.Length;
    }

    /// <summary>Appends one character given as a code point.</summary>
    public void Append(int codePoint, TextSpan source)
    {
        if (codePoint < 0x10000)
        {
            Append((char)codePoint, source);
            return;
        }
        Append((char)(0xD7C0 + (codePoint >> 10)), source);
        Append((char)(0xDC00 + (codePoint & 0x3FF)), source);
    }

    /// <summary>Copies <c>[start, end)</c> of another text with its alignment.</summary>
    public void Append(AlignedText text, int start, int end)
    {
        for (int i = start; i < end; i++)
            Append(text.Chars[i], text.SourceOf(i));
    }

    public AlignedText Build() => AlignedText.FromBuilder(chars, sources, Length);

    private void Grow(int atLeast)
    {
        int size = Math.Max(atLeast, chars.Length * 2);
        Array.Resize(ref chars, size);
        Array.Resize(ref sources, size);
    }
}
