namespace Legato.Runtime.Plans;

/// <summary>What must hold of a plan that comes from a file before a device may execute it.</summary>
internal static class PlanCheck
{
    /// <exception cref="FormatException">A buffer or a view lies where none can be.</exception>
    public static Plan Checked(Plan plan)
    {
        var ids = new HashSet<int>();
        foreach (PlanBuffer buffer in plan.Buffers)
        {
            if (!ids.Add(buffer.Id))
                throw new FormatException($"two buffers have the number {buffer.Id}");
            if (!buffer.IsPersistent && (buffer.Offset < 0 || buffer.Offset > plan.ArenaBytes - Maximum(plan, buffer.Bytes)))
                throw new FormatException($"buffer '{buffer.Name}' lies outside the arena of {plan.ArenaBytes} bytes");
        }
        foreach (int buffer in plan.Setup.Concat(plan.Steps).SelectMany(s => s.Buffers()))
            if (!ids.Contains(buffer))
                throw new FormatException($"a step uses buffer {buffer}, which is not declared");
        return plan;
    }

    private static long Maximum(Plan plan, Extent extent) => extent.Evaluate(name =>
        plan.Dimensions.FirstOrDefault(d => d.Name == name)?.Maximum ?? throw new FormatException($"a size depends on '{name}', which is no dimension"));
}
