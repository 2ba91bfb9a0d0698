namespace Legato.Runtime.Generation;

/// <summary>How the next token is chosen from the logits.</summary>
/// <param name="Temperature">Logits are divided by it; 0 always takes the likeliest token.</param>
/// <param name="TopK">Only this many of the likeliest tokens; 0 for all.</param>
/// <param name="TopP">
/// Only the likeliest tokens that together reach this probability, after the temperature and TopK (Holtzman et al. 2020,
/// nucleus sampling); 1 for all.
/// </param>
public sealed record Sampling(double Temperature = 1, int TopK = 0, double TopP = 1)
{
    /// <summary>Always the likeliest token.</summary>
    public static Sampling Greedy { get; } = new(0);

    /// <exception cref="LegatoException">A number is out of its bounds.</exception>
    internal void Check()
    {
        if (!(Temperature >= 0 && double.IsFinite(Temperature)))
            throw new LegatoException($"the temperature can't be {Temperature}", remedy: "give a number from 0 (greedy) up, such as 0.8");
        if (TopK < 0)
            throw new LegatoException($"top-k can't be {TopK}", remedy: "give how many tokens to choose among, or 0 for all");
        if (!(TopP > 0 && TopP <= 1))
            throw new LegatoException($"top-p can't be {TopP}", remedy: "give a share above 0 and up to 1");
    }
}
