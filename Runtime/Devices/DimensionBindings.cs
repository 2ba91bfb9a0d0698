using Legato.Runtime.Plans;

namespace Legato.Runtime.Devices;

/// <summary>The values of a plan's dynamic dimensions for the runs to come; at first each stands at its maximum.</summary>
public sealed class DimensionBindings
{
    private readonly Plan plan;
    private readonly long[] values;

    public DimensionBindings(Plan plan)
    {
        this.plan = plan;
        values = [.. plan.Dimensions.Select(d => d.Maximum)];
    }

    /// <summary>Counts the bindings that changed a value, so that what was derived from them can be kept.</summary>
    public int Version { get; private set; }

    /// <summary>In the order of the plan's dimensions.</summary>
    public ReadOnlySpan<long> Values => values;

    public long this[string name] => values[Find(name)];

    /// <exception cref="LegatoException">Unknown name, or a value out of its bounds.</exception>
    public void Bind(string name, long value)
    {
        int index = Find(name);
        DynamicDimension dimension = plan.Dimensions[index];
        if (value < dimension.Minimum || value > dimension.Maximum)
            throw new LegatoException(
                $"{name} can't be {value}: the {plan.Purpose.ToString().ToLowerInvariant()} plan of {plan.Model} was made for {dimension.Minimum} to {dimension.Maximum}",
                remedy: $"ask for a plan with a larger {name}, or pass less");
        if (values[index] == value)
            return;
        values[index] = value;
        Version++;
    }

    private int Find(string name)
    {
        for (int i = 0; i < plan.Dimensions.Count; i++)
            if (plan.Dimensions[i].Name == name)
                return i;
        throw new LegatoException(
            $"the {plan.Purpose.ToString().ToLowerInvariant()} plan of {plan.Model} has no dimension '{name}'",
            remedy: plan.Dimensions.Count == 0 ? "all its sizes are constant" : $"it has {string.Join(", ", plan.Dimensions.Select(d => d.Name))}");
    }
}
