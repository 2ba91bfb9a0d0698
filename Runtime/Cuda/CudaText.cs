using System.Text;

namespace Legato.Runtime.Cuda;

/// <summary>CUDA C++ under construction, indented by its braces.</summary>
/// <param name="depth">Braces around it.</param>
internal sealed class CudaText(int depth = 0)
{
    private readonly StringBuilder text = new();

    public void Line(string line) => text.Append(' ', depth * 2).Append(line).Append('\n');

    /// <summary>A line that opens a block.</summary>
    public void Open(string line)
    {
        Line(line.Length == 0 ? "{" : line + " {");
        depth++;
    }

    public void Close()
    {
        depth--;
        Line("}");
    }

    /// <summary>One line of the same depth for each of another text's.</summary>
    public void Append(CudaText other) => Append(other.ToString());

    public void Append(string lines)
    {
        foreach (string line in lines.Split('\n', StringSplitOptions.RemoveEmptyEntries))
            Line(line);
    }

    public override string ToString() => text.ToString();
}
