namespace Legato.Runtime.Data;

/// <summary>
/// Some tokens are to be told from all around them (Devlin et al. 2019, section 3.1): of those, 80 % are masked, 10 %
/// become any token, 10 % stay. The others' labels don't count.
/// </summary>
/// <param name="Rate">The share of tokens that are to be told.</param>
/// <param name="Vocabulary">Tokens that a replaced one is drawn from.</param>
/// <param name="Spared">Tokens that are never chosen, such as those that frame a text.</param>
public sealed record MaskedObjective(double Rate, int MaskToken, int Vocabulary, IReadOnlyList<int> Spared) : Objective
{
    private const float Masked = 0.8f, Replaced = 0.9f;

    public override string Description => $"masked, {Rate}, mask {MaskToken}, sparing {string.Join(' ', Spared)}";

    public override int? Tells => 0;

    public override void Fill(ReadOnlySpan<int> text, ref RowRandom random, Row row)
    {
        Span<int> tokens = row.Tokens, labels = row.Labels;
        for (int i = 0; i < tokens.Length; i++)
        {
            int token = text[i];
            (tokens[i], labels[i]) = (token, Ignored);
            if (random.Uniform() >= Rate || Spared.Contains(token))
                continue;
            labels[i] = token;
            float fate = random.Uniform();
            if (fate < Masked)
                tokens[i] = MaskToken;
            else if (fate < Replaced)
                tokens[i] = random.Below(Vocabulary);
        }
    }
}
