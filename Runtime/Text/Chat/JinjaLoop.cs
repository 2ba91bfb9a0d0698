namespace Legato.Runtime.Text.Chat;

/// <summary>The variable <c>loop</c> inside a loop.</summary>
internal sealed class JinjaLoop(IReadOnlyList<object?> items, int depth, JinjaOperators operators, JinjaCallable? recurse)
{
    private object? changed = new();

    public int Index { get; set; }

    public int Depth => depth;

    public JinjaCallable? Recurse => recurse;

    public object? Member(string name) => name switch
    {
        "index" => Index + 1L,
        "index0" => (long)Index,
        "first" => Index == 0,
        "last" => Index == items.Count - 1,
        "length" => (long)items.Count,
        "revindex" => (long)(items.Count - Index),
        "revindex0" => (long)(items.Count - Index - 1),
        "depth" => depth + 1L,
        "depth0" => (long)depth,
        "previtem" => Index > 0 ? items[Index - 1] : new JinjaUndefined("there is no previous item"),
        "nextitem" => Index + 1 < items.Count ? items[Index + 1] : new JinjaUndefined("there is no next item"),
        "cycle" => new JinjaCallable("cycle", call => call.Positional.Count > 0
            ? call.Positional[Index % call.Positional.Count]
            : throw JinjaException.Type("no items for cycling given", call.Line)),
        "changed" => new JinjaCallable("changed", call => HasChanged(new JinjaList(call.Positional))),
        _ => new JinjaUndefined($"'loop' has no attribute '{name}'"),
    };

    private object HasChanged(JinjaList values)
    {
        bool differs = !operators.AreEqual(changed, values);
        changed = values;
        return differs;
    }
}
