using static Legato.Runtime.Text.Chat.JinjaExpression;

namespace Legato.Runtime.Text.Chat;

/// <summary>Evaluates expressions.</summary>
internal sealed class JinjaEvaluator
{
    private readonly JinjaBudget budget;
    private readonly JinjaMethods methods;
    private readonly JinjaFilters filters;
    private readonly JinjaTestFunctions tests;

    public JinjaEvaluator(JinjaBudget budget)
    {
        this.budget = budget;
        Text = new PythonText(budget);
        Operators = new JinjaOperators(budget, Text);
        methods = new JinjaMethods(budget, Operators, Text);
        tests = new JinjaTestFunctions(Operators);
        var lists = new JinjaListFilters(budget, Operators, Text)
        {
            GetItem = GetItem,
            ApplyFilter = (name, value, call) => filters!.Apply(name, value, call),
            RunTest = tests.Test,
        };
        filters = new JinjaFilters(budget, Operators, Text, methods, lists);
    }

    public JinjaOperators Operators { get; }

    public PythonText Text { get; }

    public object? Evaluate(JinjaExpression expression, JinjaScope scope)
    {
        JinjaBudget.GuardStack();
        budget.Step();
        switch (expression)
        {
            case Constant constant: return constant.Value;
            case Name name: return scope.Get(name.Text);
            case ListOf list: return new JinjaList(list.Items.Select(item => Evaluate(item, scope)).ToList()) { IsTuple = list.IsTuple };
            case DictOf dict: return MakeDict(dict, scope);
            case JinjaExpression.Attribute attribute: return GetAttribute(Evaluate(attribute.Target, scope), attribute.Key, attribute.Line);
            case Item item: return GetItem(Evaluate(item.Target, scope), Evaluate(item.Key, scope), item.Line);
            case Slice slice: return GetSlice(slice, scope);
            case Call call: return Invoke(Evaluate(call.Target, scope), EvaluateArguments(call.Arguments, scope, call.Line));
            case Filter filter: return ApplyFilter(filter, filter.Target is null ? "" : Evaluate(filter.Target, scope), scope);
            case Test test: return tests.Test(test.Text, Evaluate(test.Target, scope), EvaluateArguments(test.Arguments, scope, test.Line)) != test.Negated;
            case Unary unary: return EvaluateUnary(unary, scope);
            case Binary binary: return EvaluateBinary(binary, scope);
            case Comparison comparison: return EvaluateComparison(comparison, scope);
            case Conditional conditional: return EvaluateConditional(conditional, scope);
            default: throw new InvalidOperationException($"an expression of kind {expression.GetType().Name} is not evaluated");
        }
    }

    public object? ApplyFilter(Filter filter, object? value, JinjaScope scope)
    {
        var call = EvaluateArguments(filter.Arguments, scope, filter.Line);
        if (filter.Text != "attr")
            return filters.Apply(filter.Text, value, call);
        string name = call.Text(0, "name");
        return value is JinjaDict ? methods.Find(value, name) ?? (object)Missing(value, name) : GetAttribute(value, name, filter.Line);
    }

    public JinjaCall EvaluateArguments(JinjaArguments arguments, JinjaScope scope, int line)
    {
        var positional = new List<object?>(arguments.Positional.Count);
        foreach (var argument in arguments.Positional)
            positional.Add(Evaluate(argument, scope));
        if (arguments.Spread is not null)
            positional.AddRange(Operators.Iterate(Evaluate(arguments.Spread, scope)));
        var named = new Dictionary<string, object?>(StringComparer.Ordinal);
        foreach (var (name, value) in arguments.Named)
            named[name] = Evaluate(value, scope);
        if (arguments.NamedSpread is not null)
            SpreadNamed(Evaluate(arguments.NamedSpread, scope), named, line);
        return new JinjaCall(positional, named, line);
    }

    public object? Invoke(object? target, JinjaCall call) => target switch
    {
        JinjaCallable callable => callable.Invoke(call),
        JinjaLoop { Recurse: { } recurse } => recurse.Invoke(call),
        JinjaUndefined undefined => throw undefined.Error(call.Line),
        _ => throw JinjaException.Type($"'{JinjaOperators.TypeName(target)}' object is not callable", call.Line),
    };

    // A method or attribute first, then an item of that name.
    private object? GetAttribute(object? target, string name, int line)
    {
        if (target is JinjaUndefined undefined)
            throw undefined.Error(line);
        if (name.StartsWith('_'))
            return new JinjaUndefined(
                $"access to attribute '{name}' of '{JinjaOperators.TypeName(target)}' object is unsafe.", "SecurityError");
        switch (target)
        {
            case JinjaLoop loop: return loop.Member(name);
            case JinjaNamespace space: return space.Members.TryGetValue(name, out object? member) ? member : Missing(target, name);
            case JinjaCallable callable when name == "name": return callable.Name;
        }
        if (methods.Find(target, name) is { } method)
            return method;
        return target is JinjaDict dict && dict.TryGetValue(name, out object? value) ? value : Missing(target, name);
    }

    private object? GetItem(object? target, object? key) => GetItem(target, key, 0);

    // An item first, then a method or attribute of that name.
    private object? GetItem(object? target, object? key, int line)
    {
        switch (target)
        {
            case JinjaUndefined undefined: throw undefined.Error(line);
            case JinjaDict dict when key is not (JinjaList or JinjaDict) && dict.TryGetValue(JinjaKeyComparer.KeyOf(key), out object? value): return value;
            case JinjaList list when key is long or bool: return ItemAt(list, Convert.ToInt64(key), target, key);
            case string characters when key is long or bool:
                budget.Step(characters.Length >> 6);
                return ItemAt(new JinjaList(CodePoints.Split(characters)), Convert.ToInt64(key), target, key);
        }
        return key is string name ? GetAttribute(target, name, line) : Missing(target, key);
    }

    private JinjaUndefined Missing(object? target, object? key) => new(key is string
        ? $"'{ObjectName(target)}' has no attribute {Text.Repr(key)}"
        : $"{ObjectName(target)} has no element {Text.Repr(key)}");

    private static string ObjectName(object? target) => target is null ? "None" : JinjaOperators.TypeName(target) + " object";

    private object? ItemAt(JinjaList list, long index, object? target, object? key)
    {
        if (index < 0)
            index += list.Count;
        return index >= 0 && index < list.Count ? list[(int)index] : Missing(target, key);
    }

    private object? GetSlice(Slice slice, JinjaScope scope)
    {
        object? target = Evaluate(slice.Target, scope);
        long? start = Bound(slice.Start, scope), stop = Bound(slice.Stop, scope), step = Bound(slice.Step, scope);
        if (step == 0)
            throw new JinjaException("ValueError", "slice step cannot be zero", slice.Line);
        switch (target)
        {
            case string characters:
                budget.Allocate(characters.Length);
                return string.Concat(Sliced(CodePoints.Split(characters), start, stop, step ?? 1));
            case JinjaList list:
                budget.Allocate(list.Count);
                return new JinjaList(Sliced(list, start, stop, step ?? 1)) { IsTuple = list.IsTuple };
            case JinjaUndefined undefined:
                throw undefined.Error(slice.Line);
            default:
                throw JinjaException.Type($"'{JinjaOperators.TypeName(target)}' object is not subscriptable", slice.Line);
        }
    }

    private long? Bound(JinjaExpression? expression, JinjaScope scope) => expression is null ? null : Evaluate(expression, scope) switch
    {
        null => null,
        long bound => bound,
        bool truth => truth ? 1 : 0,
        _ => throw JinjaException.Type("slice indices must be integers or None", expression.Line),
    };

    private static IEnumerable<T> Sliced<T>(IReadOnlyList<T> items, long? start, long? stop, long step)
    {
        long count = items.Count;
        long lowest = step > 0 ? 0 : -1, highest = step > 0 ? count : count - 1;
        long Place(long bound) => Math.Clamp(bound < 0 ? bound + count : bound, lowest, highest);
        long from = start is long first ? Place(first) : step > 0 ? 0 : count - 1;
        long to = stop is long last ? Place(last) : step > 0 ? count : -1;
        for (long i = from; step > 0 ? i < to : i > to; i += step)
            yield return items[(int)i];
    }

    private JinjaDict MakeDict(DictOf source, JinjaScope scope)
    {
        var dict = new JinjaDict();
        foreach (var (key, value) in source.Items)
            dict[JinjaKeyComparer.KeyOf(Evaluate(key, scope))] = Evaluate(value, scope);
        return dict;
    }

    private static void SpreadNamed(object? value, Dictionary<string, object?> named, int line)
    {
        if (value is not JinjaDict dict)
            throw JinjaException.Type("argument after ** must be a mapping", line);
        foreach (var (key, member) in dict)
            named[key as string ?? throw JinjaException.Type("keywords must be strings", line)] = member;
    }

    private object? EvaluateUnary(Unary unary, JinjaScope scope)
    {
        object? operand = Evaluate(unary.Operand, scope);
        return unary.Operator switch
        {
            "not" => !JinjaOperators.Truth(operand),
            "-" => Operators.Negate(operand),
            _ => Operators.Arithmetic("+", 0L, operand),
        };
    }

    private object? EvaluateBinary(Binary binary, JinjaScope scope)
    {
        object? left = Evaluate(binary.Left, scope);
        switch (binary.Operator)
        {
            case "and": return JinjaOperators.Truth(left) ? Evaluate(binary.Right, scope) : left;
            case "or": return JinjaOperators.Truth(left) ? left : Evaluate(binary.Right, scope);
        }
        object? right = Evaluate(binary.Right, scope);
        return binary.Operator switch
        {
            "+" => Operators.Add(left, right),
            "~" => Operators.Join(Text.Str(left), Text.Str(right)),
            "*" => Operators.Multiply(left, right),
            _ => Operators.Arithmetic(binary.Operator, left, right),
        };
    }

    private object? EvaluateComparison(Comparison comparison, JinjaScope scope)
    {
        object? left = Evaluate(comparison.First, scope);
        foreach (var (operation, expression) in comparison.Rest)
        {
            object? right = Evaluate(expression, scope);
            bool holds = operation switch
            {
                "==" => Operators.AreEqual(left, right),
                "!=" => !Operators.AreEqual(left, right),
                "in" => Operators.Contains(right, left),
                "not in" => !Operators.Contains(right, left),
                "<" => Operators.Compare(left, right, "<") < 0,
                "<=" => Operators.Compare(left, right, "<=") <= 0,
                ">" => Operators.Compare(left, right, ">") > 0,
                _ => Operators.Compare(left, right, ">=") >= 0,
            };
            if (!holds)
                return false;
            left = right;
        }
        return true;
    }

    private object? EvaluateConditional(Conditional conditional, JinjaScope scope)
    {
        if (JinjaOperators.Truth(Evaluate(conditional.Condition, scope)))
            return Evaluate(conditional.Then, scope);
        return conditional.Otherwise is null
            ? new JinjaUndefined("the inline if-expression evaluated to false and no else section was defined.")
            : Evaluate(conditional.Otherwise, scope);
    }
}
