using System.Text;

namespace Legato.Runtime.Text.Chat;

/// <summary>What a template has written, and which parts of it are the assistant's.</summary>
internal sealed class JinjaOutput(JinjaBudget budget)
{
    private readonly StringBuilder text = new();

    /// <summary>Parts inside of generation blocks, in UTF-16 code units.</summary>
    public List<TextSpan> Generated { get; } = [];

    public int Length => text.Length;

    public void Write(string value)
    {
        budget.Allocate(value.Length);
        text.Append(value);
    }

    public override string ToString() => text.ToString();
}
