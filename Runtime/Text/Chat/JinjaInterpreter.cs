using static Legato.Runtime.Text.Chat.JinjaStatement;

namespace Legato.Runtime.Text.Chat;

/// <summary>Runs a template's statements.</summary>
internal sealed class JinjaInterpreter
{
    private const int LongestRange = 100_000;
    private const int DeepestCall = 128;

    private readonly JinjaBudget budget;
    private readonly JinjaEvaluator evaluator;
    private readonly DateTime now;
    private int callDepth;

    /// <summary>How a block of statements ended.</summary>
    private enum Flow
    {
        Next,
        Break,
        Continue,
    }

    public JinjaInterpreter(JinjaBudget budget, DateTime now)
    {
        this.budget = budget;
        this.now = now;
        evaluator = new JinjaEvaluator(budget);
    }

    /// <summary>Renders a template with the variables given.</summary>
    public JinjaOutput Render(IReadOnlyList<JinjaStatement> template, IReadOnlyDictionary<string, object?> variables)
    {
        var globals = new JinjaScope(null);
        AddFunctions(globals);
        foreach (var (name, value) in variables)
            globals.Set(name, value);
        var output = new JinjaOutput(budget);
        Run(template, new JinjaScope(globals), output);
        return output;
    }

    private void AddFunctions(JinjaScope globals)
    {
        void Add(string name, Func<JinjaCall, object?> body) => globals.Set(name, new JinjaCallable(name, body));
        Add("raise_exception", call => throw new JinjaException("TemplateError", evaluator.Text.Str(call.Get(0, "message", "")), call.Line));
        Add("strftime_now", call => PythonTime.Format(now, call.Text(0, "format")));
        Add("range", Range);
        Add("namespace", MakeNamespace);
        Add("dict", MakeDict);
        Add("joiner", MakeJoiner);
        Add("cycler", MakeCycler);
    }

    private Flow Run(IReadOnlyList<JinjaStatement> body, JinjaScope scope, JinjaOutput output)
    {
        JinjaBudget.GuardStack();
        foreach (var statement in body)
        {
            budget.Step();
            var flow = Run(statement, scope, output);
            if (flow != Flow.Next)
                return flow;
        }
        return Flow.Next;
    }

    private Flow Run(JinjaStatement statement, JinjaScope scope, JinjaOutput output)
    {
        switch (statement)
        {
            case JinjaStatement.Text text: output.Write(text.Value); break;
            case Output expression: output.Write(evaluator.Text.Str(evaluator.Evaluate(expression.Value, scope))); break;
            case If condition: return RunIf(condition, scope, output);
            case For loop: RunFor(loop, evaluator.Evaluate(loop.Items, scope), 0, scope, output); break;
            case Set set: Assign(set.Target, evaluator.Evaluate(set.Value, scope), scope, set.Line); break;
            case SetBlock set: Assign(set.Target, Filtered(set.Filters, set.Body, scope), scope, set.Line); break;
            case Macro macro: scope.Set(macro.Name, MakeMacro(macro, scope)); break;
            case CallBlock call: RunCall(call, scope, output); break;
            case FilterBlock filter: output.Write(evaluator.Text.Str(Filtered(filter.Filters, filter.Body, scope))); break;
            case With with: return RunWith(with, scope, output);
            case GenerationBlock generation: return RunGeneration(generation, scope, output);
            case Evaluate expression: evaluator.Evaluate(expression.Value, scope); break;
            case Break: return Flow.Break;
            case Continue: return Flow.Continue;
        }
        return Flow.Next;
    }

    private Flow RunIf(If statement, JinjaScope scope, JinjaOutput output)
    {
        foreach (var (condition, body) in statement.Branches)
            if (JinjaOperators.Truth(evaluator.Evaluate(condition, scope)))
                return Run(body, scope, output);
        return Run(statement.Otherwise, scope, output);
    }

    private void RunFor(For loop, object? source, int depth, JinjaScope scope, JinjaOutput output)
    {
        var items = evaluator.Operators.Iterate(source);
        if (loop.Condition is not null)
            items = Selected(loop, items, scope);
        if (items.Count == 0)
        {
            Run(loop.Otherwise, new JinjaScope(scope), output);
            return;
        }
        var state = new JinjaLoop(items, depth, evaluator.Operators, loop.IsRecursive ? Recursion(loop, depth, scope) : null);
        for (int i = 0; i < items.Count; i++)
        {
            budget.Step();
            state.Index = i;
            var inner = new JinjaScope(scope);
            inner.Set("loop", state);
            Assign(loop.Target, items[i], inner, loop.Line);
            if (Run(loop.Body, inner, output) == Flow.Break)
                break;
        }
    }

    private List<object?> Selected(For loop, IReadOnlyList<object?> items, JinjaScope scope)
    {
        var kept = new List<object?>();
        foreach (object? item in items)
        {
            var inner = new JinjaScope(scope);
            Assign(loop.Target, item, inner, loop.Line);
            if (JinjaOperators.Truth(evaluator.Evaluate(loop.Condition!, inner)))
                kept.Add(item);
        }
        return kept;
    }

    private JinjaCallable Recursion(For loop, int depth, JinjaScope scope) => new("loop", call =>
        Captured(output => RunFor(loop, call.Require(0, "iterable"), depth + 1, scope, output)));

    private Flow RunWith(With with, JinjaScope scope, JinjaOutput output)
    {
        var inner = new JinjaScope(scope);
        foreach (var (target, value) in with.Values)
            Assign(target, evaluator.Evaluate(value, scope), inner, with.Line);
        return Run(with.Body, inner, output);
    }

    private Flow RunGeneration(GenerationBlock generation, JinjaScope scope, JinjaOutput output)
    {
        int start = output.Length;
        var flow = Run(generation.Body, scope, output);
        output.Generated.Add(new TextSpan(start, output.Length));
        return flow;
    }

    private void RunCall(CallBlock block, JinjaScope scope, JinjaOutput output)
    {
        var arguments = evaluator.EvaluateArguments(block.Call.Arguments, scope, block.Line);
        var named = new Dictionary<string, object?>(arguments.Named, StringComparer.Ordinal) { ["caller"] = MakeMacro(block.Caller, scope) };
        object? target = evaluator.Evaluate(block.Call.Target, scope);
        output.Write(evaluator.Text.Str(evaluator.Invoke(target, arguments with { Named = named })));
    }

    private object? Filtered(IReadOnlyList<JinjaExpression.Filter> filters, IReadOnlyList<JinjaStatement> body, JinjaScope scope)
    {
        object? value = Captured(output => Run(body, new JinjaScope(scope), output));
        foreach (var filter in filters)
            value = evaluator.ApplyFilter(filter, value, scope);
        return value;
    }

    private string Captured(Action<JinjaOutput> run)
    {
        if (++callDepth > DeepestCall)
            throw JinjaException.Limit("the template calls too deeply");
        var output = new JinjaOutput(budget);
        run(output);
        callDepth--;
        return output.ToString();
    }

    private JinjaCallable MakeMacro(Macro macro, JinjaScope definition) => new(macro.Name, call =>
        Captured(output => Run(macro.Body, Bind(macro, call, definition), output)));

    private JinjaScope Bind(Macro macro, JinjaCall call, JinjaScope definition)
    {
        var scope = new JinjaScope(definition);
        for (int i = 0; i < macro.Parameters.Count; i++)
        {
            var parameter = macro.Parameters[i];
            object? value = call.Has(i, parameter.Name) ? call.Get(i, parameter.Name, null)
                : parameter.Default is not null ? evaluator.Evaluate(parameter.Default, scope)
                : new JinjaUndefined($"parameter '{parameter.Name}' was not provided");
            scope.Set(parameter.Name, value);
        }
        scope.Set("varargs", new JinjaList(call.Positional.Skip(macro.Parameters.Count)) { IsTuple = true });
        scope.Set("kwargs", Extra(macro, call));
        scope.Set("caller", call.Named.TryGetValue("caller", out object? caller) ? caller : new JinjaUndefined("No caller defined"));
        return scope;
    }

    private static JinjaDict Extra(Macro macro, JinjaCall call)
    {
        var extra = new JinjaDict();
        foreach (var (name, value) in call.Named)
            if (name != "caller" && macro.Parameters.All(parameter => parameter.Name != name))
                extra[name] = value;
        return extra;
    }

    private void Assign(JinjaTarget target, object? value, JinjaScope scope, int line)
    {
        switch (target)
        {
            case JinjaTarget.Variable variable:
                scope.Set(variable.Name, value);
                break;
            case JinjaTarget.Member member:
                if (scope.Get(member.Namespace) is not JinjaNamespace space)
                    throw new JinjaException("TemplateRuntimeError", "cannot assign attribute on non-namespace object", line);
                space.Members[member.Name] = value;
                break;
            case JinjaTarget.Several several:
                var items = evaluator.Operators.Iterate(value);
                if (items.Count != several.Items.Count)
                    throw new JinjaException("ValueError", items.Count < several.Items.Count
                        ? $"not enough values to unpack (expected {several.Items.Count}, got {items.Count})"
                        : $"too many values to unpack (expected {several.Items.Count})", line);
                for (int i = 0; i < items.Count; i++)
                    Assign(several.Items[i], items[i], scope, line);
                break;
        }
    }

    private object Range(JinjaCall call)
    {
        long start = call.Positional.Count > 1 ? call.Int(0, "start") : 0;
        long stop = call.Positional.Count > 1 ? call.Int(1, "stop") : call.Int(0, "stop");
        long step = call.Int(2, "step", 1);
        if (step == 0)
            throw new JinjaException("ValueError", "range() arg 3 must not be zero", call.Line);
        decimal span = step > 0 ? (decimal)stop - start : (decimal)start - stop;
        decimal count = span <= 0 ? 0 : Math.Ceiling(span / Math.Abs((decimal)step));
        if (count > LongestRange)
            throw new JinjaException("OverflowError", $"Range too big. The sandbox blocks ranges larger than MAX_RANGE ({LongestRange}).", call.Line);
        budget.Allocate((long)count);
        var range = new JinjaList();
        for (int i = 0; i < count; i++)
            range.Add(start + i * step);
        return range;
    }

    private object MakeNamespace(JinjaCall call)
    {
        var space = new JinjaNamespace();
        foreach (var (name, value) in ((JinjaDict)MakeDict(call)).Select(member => (member.Key as string, member.Value)))
            space.Members[name ?? throw JinjaException.Type("namespace attributes must be strings", call.Line)] = value;
        return space;
    }

    private object MakeDict(JinjaCall call)
    {
        var dict = new JinjaDict();
        if (call.Positional.Count > 0 && call.Positional[0] is JinjaDict source)
            foreach (var (key, value) in source)
                dict[key] = value;
        else if (call.Positional.Count > 0)
            foreach (object? item in evaluator.Operators.Iterate(call.Positional[0]))
            {
                var pair = evaluator.Operators.Iterate(item);
                if (pair.Count != 2)
                    throw new JinjaException("ValueError", "dictionary update sequence element has a length other than 2", call.Line);
                dict[JinjaKeyComparer.KeyOf(pair[0])] = pair[1];
            }
        foreach (var (name, value) in call.Named)
            dict[name] = value;
        return dict;
    }

    private static object MakeJoiner(JinjaCall call)
    {
        string separator = call.Text(0, "sep", ", ");
        bool used = false;
        return new JinjaCallable("joiner", _ =>
        {
            string result = used ? separator : "";
            used = true;
            return result;
        });
    }

    private static object MakeCycler(JinjaCall call)
    {
        if (call.Positional.Count == 0)
            throw JinjaException.Type("at least one item has to be provided", call.Line);
        int at = 0;
        var space = new JinjaNamespace();
        space.Members["current"] = call.Positional[0];
        space.Members["next"] = new JinjaCallable("next", _ =>
        {
            object? item = call.Positional[at];
            at = (at + 1) % call.Positional.Count;
            space.Members["current"] = call.Positional[at];
            return item;
        });
        return space;
    }
}
