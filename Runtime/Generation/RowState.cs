using System.Text;
using Legato.Runtime.Data;
using Legato.Runtime.Text;

namespace Legato.Runtime.Generation;

/// <summary>One row that is being continued: its tokens, its text, its random numbers.</summary>
internal sealed class RowState
{
    private readonly GenerationOptions options;
    private readonly IReadOnlyList<int> endTokens;
    private readonly CounterRandom random;
    private readonly StreamingDecoder? decoder;
    private readonly StopText stop;
    private readonly StringBuilder text = new();
    private readonly List<int> generated = [];

    public RowState(int row, IReadOnlyList<int> prompt, GenerationOptions options, IReadOnlyList<int> endTokens, Tokenizer? tokenizer)
    {
        (Row, Prompt, this.options, this.endTokens) = (row, prompt, options, endTokens);
        random = new CounterRandom(options.Seed + row, "sampling");
        decoder = tokenizer?.CreateStreamingDecoder();
        stop = new StopText(options.Stop);
    }

    public int Row { get; }

    public IReadOnlyList<int> Prompt { get; }

    /// <summary>Why the row ended, or null while it goes on.</summary>
    public FinishReason? Reason { get; private set; }

    /// <summary>Tokens of prompt and continuation.</summary>
    public int Length => Prompt.Count + generated.Count;

    public int LastToken => generated.Count > 0 ? generated[^1] : Prompt[^1];

    /// <summary>Chooses and takes the next token.</summary>
    public void Advance(Sampler sampler, ReadOnlySpan<float> logits, Action<GeneratedToken>? onToken)
    {
        int token = sampler.Choose(logits, options.Sampling, random.Word((ulong)Length) * (1.0 / 4294967296));
        if (endTokens.Contains(token))
        {
            Finish(FinishReason.EndToken, onToken);
            return;
        }
        generated.Add(token);
        string fresh = decoder is null ? "" : stop.Add(decoder.Add(token));
        text.Append(fresh);
        onToken?.Invoke(new GeneratedToken(Row, token, fresh));
        if (stop.HasStopped)
            Reason = FinishReason.StopText;
        else if (generated.Count == options.MaxTokens)
            Finish(FinishReason.Length, onToken);
    }

    /// <summary>Ends the row, and gives out the text that was held back.</summary>
    public void Finish(FinishReason reason, Action<GeneratedToken>? onToken)
    {
        Reason = reason;
        string rest = decoder is null ? "" : stop.Add(decoder.Finish());
        if (!stop.HasStopped)
            rest += stop.Finish();
        text.Append(rest);
        if (rest.Length > 0 && generated.Count > 0)
            onToken?.Invoke(new GeneratedToken(Row, generated[^1], rest));
    }

    public GeneratedRow Result() => new(generated, text.ToString(), Reason!.Value);
}
