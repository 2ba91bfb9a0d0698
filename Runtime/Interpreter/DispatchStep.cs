using Legato.Runtime.Plans;

namespace Legato.Runtime.Interpreter;

/// <summary>Rows by group, those of one group in their order.</summary>
internal static class DispatchStep
{
    public static void Execute(InterpreterExecutable executable, Step.Dispatch step)
    {
        ElementView index = executable.View(step.Index);
        ElementView offsets = executable.View(step.Rows.Offsets), order = executable.View(step.Rows.Order);
        long count = executable.Size(step.Rows.Count), at = 0;
        for (int group = 0; group < step.Rows.Groups; group++)
        {
            offsets.Store(group, at);
            for (long row = 0; row < count; row++)
                if (index.Integer(row) == group)
                    order.Store(at++, row);
        }
        offsets.Store(step.Rows.Groups, at);
        if (at != count)
            throw new InvalidOperationException($"{step.Name}: {count - at} of {count} rows name none of {step.Rows.Groups} groups");
    }
}
