using Legato.Runtime.Text.Pipeline;
using Legato.Runtime.Text.PreTokenizers;

namespace Legato.Runtime.Text.Training;

/// <summary>Pre-tokenizers as the training options ask for them.</summary>
internal static class TrainingStages
{
    public static IPreTokenizer WithDigits(IPreTokenizer splitter, DigitSplitting digits) => digits switch
    {
        DigitSplitting.Single => new SequencePreTokenizer([splitter, new DigitsPreTokenizer(individual: true)]),
        DigitSplitting.GroupsOfThree => new SequencePreTokenizer(
            [splitter, new SplitPreTokenizer(TextPattern.Regex(@"\p{N}{1,3}"), SplitBehaviour.Isolated, false)]),
        _ => splitter,
    };
}
