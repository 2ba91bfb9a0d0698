namespace Legato.Runtime.Text.Chat;

/// <summary>The filters that work on lists and mappings.</summary>
internal sealed class JinjaListFilters(JinjaBudget budget, JinjaOperators operators, PythonText text)
{
    private static readonly HashSet<string> Names =
    [
        "batch", "dictsort", "first", "groupby", "items", "join", "last", "list", "map", "max", "min", "reject", "rejectattr",
        "reverse", "select", "selectattr", "slice", "sort", "sum", "unique",
    ];

    /// <summary>Gets a member of a value by a path with dots, applies a filter, runs a test: given by the interpreter.</summary>
    public required Func<object?, object?, object?> GetItem { get; init; }

    public required Func<string, object?, JinjaCall, object?> ApplyFilter { get; init; }

    public required Func<string, object?, JinjaCall, bool> RunTest { get; init; }

    public static bool Exists(string name) => Names.Contains(name);

    public object? Apply(string name, object? value, JinjaCall call)
    {
        switch (name)
        {
            case "items": return value is JinjaUndefined ? new JinjaList() : ItemsOf(value, call);
            case "reverse" when value is string characters:
                var reversed = CodePoints.Split(characters);
                reversed.Reverse();
                return string.Concat(reversed);
            case "dictsort": return DictSort(value, call);
        }
        var items = operators.Iterate(value);
        budget.Allocate(items.Count);
        switch (name)
        {
            case "list": return new JinjaList(items);
            case "first": return items.Count > 0 ? items[0] : new JinjaUndefined("No first item, sequence was empty.");
            case "last": return items.Count > 0 ? items[^1] : new JinjaUndefined("No last item, sequence was empty.");
            case "join": return Join(items, call);
            case "reverse": return new JinjaList(items.Reverse());
            case "map": return Map(items, call);
            case "select": return Where(items, call, byAttribute: false, keeps: true);
            case "reject": return Where(items, call, byAttribute: false, keeps: false);
            case "selectattr": return Where(items, call, byAttribute: true, keeps: true);
            case "rejectattr": return Where(items, call, byAttribute: true, keeps: false);
            case "sort": return Sort(items, call);
            case "unique": return Unique(items, call);
            case "max": return Extreme(items, call, 1);
            case "min": return Extreme(items, call, -1);
            case "sum": return Sum(items, call);
            case "groupby": return GroupBy(items, call);
            case "batch": return Batch(items, call);
            default: return Slice(items, call);
        }
    }

    private static JinjaList ItemsOf(object? value, JinjaCall call) => value is JinjaDict dict
        ? new JinjaList(dict.Select(object? (member) => Pair(JinjaKeyComparer.ValueOf(member.Key), member.Value)))
        : throw JinjaException.Type("Can only get item pairs from a mapping.", call.Line);

    private static JinjaList Pair(object? first, object? second) => new([first, second]) { IsTuple = true };

    private string Join(IReadOnlyList<object?> items, JinjaCall call)
    {
        string separator = text.Str(call.Get(0, "d", ""));
        object? attribute = call.Get(1, "attribute", null);
        var parts = new List<string>(items.Count);
        foreach (object? item in items)
        {
            string part = text.Str(attribute is null ? item : Member(item, attribute));
            budget.Allocate(part.Length + separator.Length);
            parts.Add(part);
        }
        return string.Join(separator, parts);
    }

    private JinjaList Map(IReadOnlyList<object?> items, JinjaCall call)
    {
        if (call.Positional.Count == 0)
        {
            if (!call.Named.TryGetValue("attribute", out object? attribute))
                throw new JinjaException("FilterArgumentError", "map requires a filter argument", call.Line);
            bool hasDefault = call.Named.TryGetValue("default", out object? absent);
            return new JinjaList(items.Select(item => Member(item, attribute) is var found && found is JinjaUndefined && hasDefault ? absent : found));
        }
        string filter = call.Text(0, "filter");
        var rest = new JinjaCall([.. call.Positional.Skip(1)], call.Named, call.Line);
        return new JinjaList(items.Select(item => ApplyFilter(filter, item, rest)).ToList());
    }

    private JinjaList Where(IReadOnlyList<object?> items, JinjaCall call, bool byAttribute, bool keeps)
    {
        object? attribute = byAttribute ? call.Require(0, "attribute") : null;
        int skip = byAttribute ? 1 : 0;
        string? test = call.Positional.Count > skip ? call.Text(skip, "test") : null;
        var rest = new JinjaCall([.. call.Positional.Skip(skip + 1)], call.Named, call.Line);
        var kept = new JinjaList();
        foreach (object? item in items)
        {
            budget.Step();
            object? value = attribute is null ? item : Member(item, attribute);
            bool holds = test is null ? JinjaOperators.Truth(value) : RunTest(test, value, rest);
            if (holds == keeps)
                kept.Add(item);
        }
        return kept;
    }

    private JinjaList Sort(IReadOnlyList<object?> items, JinjaCall call)
    {
        bool reverse = JinjaOperators.Truth(call.Get(0, "reverse", false));
        bool caseSensitive = JinjaOperators.Truth(call.Get(1, "case_sensitive", false));
        object? attribute = call.Get(2, "attribute", null);
        return new JinjaList(Ordered(items, item => Key(item, attribute, caseSensitive), reverse));
    }

    private JinjaList DictSort(object? value, JinjaCall call)
    {
        bool caseSensitive = JinjaOperators.Truth(call.Get(0, "case_sensitive", false));
        int place = call.Text(1, "by", "key") switch
        {
            "key" => 0,
            "value" => 1,
            _ => throw new JinjaException("FilterArgumentError", "You can only sort by either \"key\" or \"value\"", call.Line),
        };
        bool reverse = JinjaOperators.Truth(call.Get(2, "reverse", false));
        if (value is JinjaUndefined undefined)
            throw undefined.Error(call.Line);
        return new JinjaList(Ordered(ItemsOf(value, call), pair => Key(((JinjaList)pair!)[place], null, caseSensitive), reverse));
    }

    // Stable, and of equal elements the first stays first when reversed too, as in Python.
    private List<object?> Ordered(IReadOnlyList<object?> items, Func<object?, object?> key, bool reverse)
    {
        var comparer = Comparer<object?>.Create((left, right) => operators.Compare(left, right, "<"));
        var keyed = items.Select(item => (Key: key(item), Item: item)).ToList();
        budget.Step(keyed.Count);
        try
        {
            var ordered = reverse
                ? keyed.OrderByDescending(pair => pair.Key, comparer)
                : keyed.OrderBy(pair => pair.Key, comparer);
            return ordered.Select(pair => pair.Item).ToList();
        }
        catch (InvalidOperationException error) when (error.InnerException is JinjaException inner)
        {
            throw new JinjaException(inner.Kind, inner.What, inner.Line);
        }
    }

    private object? Key(object? item, object? attribute, bool caseSensitive)
    {
        object? key = attribute is null ? item : Member(item, attribute);
        return key is string characters && !caseSensitive ? characters.ToLowerInvariant() : key;
    }

    private JinjaList Unique(IReadOnlyList<object?> items, JinjaCall call)
    {
        bool caseSensitive = JinjaOperators.Truth(call.Get(0, "case_sensitive", false));
        object? attribute = call.Get(1, "attribute", null);
        var seen = new HashSet<object>(JinjaKeyComparer.Instance);
        return new JinjaList(items.Where(item => seen.Add(JinjaKeyComparer.KeyOf(Key(item, attribute, caseSensitive)))).ToList());
    }

    private object? Extreme(IReadOnlyList<object?> items, JinjaCall call, int sign)
    {
        if (items.Count == 0)
            return new JinjaUndefined("No aggregated item, sequence was empty.");
        bool caseSensitive = JinjaOperators.Truth(call.Get(0, "case_sensitive", false));
        object? attribute = call.Get(1, "attribute", null), best = items[0];
        foreach (object? item in items)
            if (sign * operators.Compare(Key(item, attribute, caseSensitive), Key(best, attribute, caseSensitive), "<") > 0)
                best = item;
        return best;
    }

    private object? Sum(IReadOnlyList<object?> items, JinjaCall call)
    {
        object? attribute = call.Get(0, "attribute", null), total = call.Get(1, "start", 0L);
        foreach (object? item in items)
            total = operators.Add(total, attribute is null ? item : Member(item, attribute));
        return total;
    }

    private JinjaList GroupBy(IReadOnlyList<object?> items, JinjaCall call)
    {
        object? attribute = call.Require(0, "attribute");
        var groups = new JinjaList();
        JinjaList? members = null;
        object? last = null;
        foreach (object? item in Ordered(items, item => Key(item, attribute, false), reverse: false))
        {
            object? key = Key(item, attribute, false);
            if (members is null || !operators.AreEqual(key, last))
            {
                members = [];
                groups.Add(Pair(Member(item, attribute), members));
                last = key;
            }
            members.Add(item);
        }
        return groups;
    }

    private JinjaList Batch(IReadOnlyList<object?> items, JinjaCall call)
    {
        int size = (int)Math.Clamp(call.Int(0, "linecount"), 1, int.MaxValue);
        var batches = new JinjaList(items.Chunk(size).Select(object? (chunk) => new JinjaList(chunk)));
        if (call.Get(1, "fill_with", null) is { } fill && batches.Count > 0)
        {
            var last = (JinjaList)batches[^1]!;
            budget.Allocate(size - last.Count);
            while (last.Count < size)
                last.Add(fill);
        }
        return batches;
    }

    private JinjaList Slice(IReadOnlyList<object?> items, JinjaCall call)
    {
        int slices = (int)Math.Clamp(call.Int(0, "slices"), 1, 100_000);
        object? fill = call.Get(1, "fill_with", null);
        int size = items.Count / slices, longer = items.Count % slices, at = 0;
        budget.Allocate(slices);
        var result = new JinjaList();
        for (int i = 0; i < slices; i++)
        {
            int count = size + (i < longer ? 1 : 0);
            var slice = new JinjaList(items.Skip(at).Take(count));
            if (fill is not null && i >= longer && longer > 0)
                slice.Add(fill);
            result.Add(slice);
            at += count;
        }
        return result;
    }

    // An attribute by name, by index, or by a path with dots.
    private object? Member(object? item, object? attribute)
    {
        if (attribute is not string path)
            return GetItem(item, attribute);
        foreach (string part in path.Split('.'))
            item = GetItem(item, long.TryParse(part, out long index) ? index : part);
        return item;
    }
}
