using System.Runtime.CompilerServices;

namespace Legato.Runtime.Text.Chat;

/// <summary>What one rendering may use. A template that asks for more is refused, so none can hang or fill memory.</summary>
internal sealed class JinjaBudget(long steps, long characters)
{
    private long stepsLeft = steps;
    private long charactersLeft = characters;

    /// <summary>Counts evaluated expressions, loop rounds, and elements looked at.</summary>
    public void Step(long count = 1)
    {
        stepsLeft -= count;
        if (stepsLeft < 0)
            throw JinjaException.Limit("the template takes too many steps");
    }

    /// <summary>Counts characters of strings, and elements of lists, that are made.</summary>
    public void Allocate(long count)
    {
        charactersLeft -= count;
        if (charactersLeft < 0)
            throw JinjaException.Limit("the template makes too much text");
        Step(count >> 6);
    }

    /// <summary>Refuses to go deeper when the stack is nearly used up.</summary>
    public static void GuardStack()
    {
        if (!RuntimeHelpers.TryEnsureSufficientExecutionStack())
            throw JinjaException.Limit("the template nests too deeply");
    }
}
