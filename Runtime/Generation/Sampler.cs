using Legato.Runtime.Cpu;
using Legato.Runtime.Plans;

namespace Legato.Runtime.Generation;

/// <summary>What is chosen of logits that the host has.</summary>
public static class Sampler
{
    /// <summary>The token of the largest logit; the first of equals.</summary>
    /// <exception cref="LegatoException">A logit is NaN, or none is finite.</exception>
    public static int Likeliest(ReadOnlySpan<float> logits) => Checked(TokenChoice.Likeliest(logits));

    /// <summary>A token that a step chose.</summary>
    /// <exception cref="LegatoException">It chose none.</exception>
    internal static int Checked(int token) => token != Step.Choose.None ? token : throw new LegatoException(
        "the model gave a logit that is no finite number", remedy: "the weights may be damaged; in bf16 or fp16 they may also be too large for the type: try --precision fp32 there");
}
