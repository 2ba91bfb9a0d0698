namespace Legato.Runtime.Text;

/// <summary>A half-open range of a text, in UTF-16 code units: <c>[Start, End)</c>.</summary>
public readonly record struct TextSpan(int Start, int End)
{
    /// <summary>Length in UTF-16 code units.</summary>
    public int Length => End - Start;
}
