namespace Legato.Runtime.Text.Chat;

// A value of a template is null, a bool, a long, a double, a string, or one of these.

/// <summary>A value that isn't there: empty as text and false as a condition, but an error to compute with.</summary>
/// <param name="Message">Why it isn't there.</param>
/// <param name="Kind">The kind of error that computing with it gives.</param>
internal sealed record JinjaUndefined(string Message, string Kind = "UndefinedError")
{
    public static JinjaUndefined Variable(string name) => new($"'{name}' is undefined");

    public JinjaException Error(int line = 0) => new(Kind, Message, line);
}

/// <summary>A list or a tuple.</summary>
internal sealed class JinjaList : List<object?>
{
    public JinjaList()
    {
    }

    public JinjaList(IEnumerable<object?> items) : base(items)
    {
    }

    public bool IsTuple { get; init; }
}

/// <summary>A mapping that keeps the order in which its keys came.</summary>
internal sealed class JinjaDict() : Dictionary<object, object?>(JinjaKeyComparer.Instance);

/// <summary>Keys are equal as in Python: numbers by value, whatever their type.</summary>
internal sealed class JinjaKeyComparer : IEqualityComparer<object>
{
    /// <summary>Stands for None, which a dictionary of .NET can't have as a key.</summary>
    public static readonly object None = new();

    public static readonly JinjaKeyComparer Instance = new();

    public new bool Equals(object? left, object? right) => Canonical(left!).Equals(Canonical(right!));

    public int GetHashCode(object key) => Canonical(key).GetHashCode();

    /// <summary>The key for a value; lists and mappings can't be keys.</summary>
    public static object KeyOf(object? value) => value switch
    {
        null => None,
        string or bool or long or double => value,
        JinjaUndefined undefined => throw undefined.Error(),
        _ => throw JinjaException.Type("unhashable type"),
    };

    public static object? ValueOf(object key) => ReferenceEquals(key, None) ? null : key;

    private static object Canonical(object key) => key switch
    {
        bool truth => truth ? 1L : 0L,
        double number when number == Math.Floor(number) && Math.Abs(number) < 1e18 => (long)number,
        _ => key,
    };
}

/// <summary>What <c>namespace()</c> makes: attributes that inner scopes can set.</summary>
internal sealed class JinjaNamespace
{
    public Dictionary<string, object?> Members { get; } = new(StringComparer.Ordinal);
}

/// <summary>Arguments of a call, evaluated.</summary>
internal sealed record JinjaCall(IReadOnlyList<object?> Positional, IReadOnlyDictionary<string, object?> Named, int Line)
{
    private static readonly Dictionary<string, object?> NoNames = [];

    public static JinjaCall Of(params object?[] positional) => new(positional, NoNames, 0);

    public int Count => Positional.Count + Named.Count;

    /// <summary>The argument at a place or under a name; what stands in for it when it isn't given.</summary>
    public object? Get(int index, string name, object? absent) =>
        index < Positional.Count ? Positional[index] : Named.TryGetValue(name, out object? value) ? value : absent;

    public bool Has(int index, string name) => index < Positional.Count || Named.ContainsKey(name);

    public object? Require(int index, string name) => Has(index, name)
        ? Get(index, name, null)
        : throw JinjaException.Type($"missing 1 required positional argument: '{name}'", Line);

    public string Text(int index, string name, string? absent = null)
    {
        object? value = absent is null ? Require(index, name) : Get(index, name, absent);
        return value as string ?? throw JinjaException.Type($"'{name}' must be a string", Line);
    }

    public long Int(int index, string name, long? absent = null)
    {
        object? value = absent is null ? Require(index, name) : Get(index, name, absent);
        return value switch
        {
            long number => number,
            bool truth => truth ? 1 : 0,
            _ => throw JinjaException.Type($"'{name}' must be an integer", Line),
        };
    }
}

/// <summary>A function, a macro, or a method bound to its value.</summary>
internal sealed class JinjaCallable(string name, Func<JinjaCall, object?> body)
{
    public string Name { get; } = name;

    public object? Invoke(JinjaCall call) => body(call);
}
