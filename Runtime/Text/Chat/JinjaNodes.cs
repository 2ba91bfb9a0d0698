namespace Legato.Runtime.Text.Chat;

/// <summary>An expression of a template.</summary>
/// <param name="Line">The line it stands on.</param>
internal abstract record JinjaExpression(int Line)
{
    public sealed record Constant(object? Value, int Line) : JinjaExpression(Line);

    public sealed record Name(string Text, int Line) : JinjaExpression(Line);

    public sealed record ListOf(IReadOnlyList<JinjaExpression> Items, bool IsTuple, int Line) : JinjaExpression(Line);

    public sealed record DictOf(IReadOnlyList<(JinjaExpression Key, JinjaExpression Value)> Items, int Line) : JinjaExpression(Line);

    /// <summary><c>target.name</c></summary>
    public sealed record Attribute(JinjaExpression Target, string Key, int Line) : JinjaExpression(Line);

    /// <summary><c>target[key]</c></summary>
    public sealed record Item(JinjaExpression Target, JinjaExpression Key, int Line) : JinjaExpression(Line);

    /// <summary><c>target[start:stop:step]</c></summary>
    public sealed record Slice(
        JinjaExpression Target, JinjaExpression? Start, JinjaExpression? Stop, JinjaExpression? Step, int Line) : JinjaExpression(Line);

    public sealed record Call(JinjaExpression Target, JinjaArguments Arguments, int Line) : JinjaExpression(Line);

    /// <summary><c>target | name(arguments)</c>; the target of a filter block is what the block gives.</summary>
    public sealed record Filter(JinjaExpression? Target, string Text, JinjaArguments Arguments, int Line) : JinjaExpression(Line);

    /// <summary><c>target is name(arguments)</c></summary>
    public sealed record Test(JinjaExpression Target, string Text, JinjaArguments Arguments, bool Negated, int Line) : JinjaExpression(Line);

    /// <summary>not, unary minus, unary plus.</summary>
    public sealed record Unary(string Operator, JinjaExpression Operand, int Line) : JinjaExpression(Line);

    public sealed record Binary(string Operator, JinjaExpression Left, JinjaExpression Right, int Line) : JinjaExpression(Line);

    /// <summary>A chain of comparisons: <c>a &lt; b &lt;= c</c>.</summary>
    public sealed record Comparison(
        JinjaExpression First, IReadOnlyList<(string Operator, JinjaExpression Right)> Rest, int Line) : JinjaExpression(Line);

    /// <summary><c>then if condition else otherwise</c></summary>
    public sealed record Conditional(
        JinjaExpression Condition, JinjaExpression Then, JinjaExpression? Otherwise, int Line) : JinjaExpression(Line);
}

/// <summary>Arguments of a call, by position and by name; either may come from a value that is spread.</summary>
internal sealed record JinjaArguments(
    IReadOnlyList<JinjaExpression> Positional, IReadOnlyList<(string Name, JinjaExpression Value)> Named,
    JinjaExpression? Spread, JinjaExpression? NamedSpread)
{
    public static JinjaArguments None { get; } = new([], [], null, null);
}

/// <summary>What can be assigned to: a name, an attribute of a namespace, or several at once.</summary>
internal abstract record JinjaTarget
{
    public sealed record Variable(string Name) : JinjaTarget;

    public sealed record Member(string Namespace, string Name) : JinjaTarget;

    public sealed record Several(IReadOnlyList<JinjaTarget> Items) : JinjaTarget;
}

/// <summary>A parameter of a macro.</summary>
internal sealed record JinjaParameter(string Name, JinjaExpression? Default);

/// <summary>A statement of a template.</summary>
internal abstract record JinjaStatement(int Line)
{
    public sealed record Text(string Value, int Line) : JinjaStatement(Line);

    public sealed record Output(JinjaExpression Value, int Line) : JinjaStatement(Line);

    public sealed record If(
        IReadOnlyList<(JinjaExpression Condition, IReadOnlyList<JinjaStatement> Body)> Branches,
        IReadOnlyList<JinjaStatement> Otherwise, int Line) : JinjaStatement(Line);

    public sealed record For(
        JinjaTarget Target, JinjaExpression Items, JinjaExpression? Condition, bool IsRecursive,
        IReadOnlyList<JinjaStatement> Body, IReadOnlyList<JinjaStatement> Otherwise, int Line) : JinjaStatement(Line);

    public sealed record Set(JinjaTarget Target, JinjaExpression Value, int Line) : JinjaStatement(Line);

    public sealed record SetBlock(
        JinjaTarget Target, IReadOnlyList<JinjaExpression.Filter> Filters, IReadOnlyList<JinjaStatement> Body, int Line) : JinjaStatement(Line);

    public sealed record Macro(
        string Name, IReadOnlyList<JinjaParameter> Parameters, IReadOnlyList<JinjaStatement> Body, int Line) : JinjaStatement(Line);

    public sealed record CallBlock(JinjaExpression.Call Call, Macro Caller, int Line) : JinjaStatement(Line);

    public sealed record FilterBlock(
        IReadOnlyList<JinjaExpression.Filter> Filters, IReadOnlyList<JinjaStatement> Body, int Line) : JinjaStatement(Line);

    public sealed record With(
        IReadOnlyList<(JinjaTarget Target, JinjaExpression Value)> Values, IReadOnlyList<JinjaStatement> Body, int Line) : JinjaStatement(Line);

    /// <summary>What the assistant says: the block that templates mark for the training mask.</summary>
    public sealed record GenerationBlock(IReadOnlyList<JinjaStatement> Body, int Line) : JinjaStatement(Line);

    public sealed record Break(int Line) : JinjaStatement(Line);

    public sealed record Continue(int Line) : JinjaStatement(Line);

    public sealed record Evaluate(JinjaExpression Value, int Line) : JinjaStatement(Line);
}
