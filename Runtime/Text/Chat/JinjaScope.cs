namespace Legato.Runtime.Text.Chat;

/// <summary>Variables, and the scope around them.</summary>
internal sealed class JinjaScope(JinjaScope? outer)
{
    private readonly Dictionary<string, object?> variables = new(StringComparer.Ordinal);

    public void Set(string name, object? value) => variables[name] = value;

    public object? Get(string name)
    {
        for (var scope = this; scope is not null; scope = scope.Outer)
            if (scope.variables.TryGetValue(name, out object? value))
                return value;
        return JinjaUndefined.Variable(name);
    }

    private JinjaScope? Outer { get; } = outer;
}
