using System.Text;
using Legato.Runtime.Data;
using Legato.Runtime.Text;

namespace Legato.Runtime.Generation;

/// <summary>One row that is being continued: its tokens, its text, its random numbers.</summary>
internal sealed class RowState
{
    private readonly GenerationOptions options;
    private readonly IReadOnlyList<int> endTokens;
    private readonly StreamingDecoder? decoder;
    private readonly StopText stop;
    private readonly StringBuilder text = new();
    private readonly List<int> generated = [];

    public RowState(int row, int[] prompt, GenerationOptions options, IReadOnlyList<int> endTokens, Tokenizer? tokenizer)
    {
        (Row, Prompt, this.options, this.endTokens) = (row, prompt, options, endTokens);
        Random = new CounterRandom(options.Seed + row, "sampling");
        decoder = tokenizer?.CreateStreamingDecoder(behind: prompt);
        stop = new StopText(options.Stop);
    }

    public int Row { get; }

    public IReadOnlyList<int> Prompt { get; }

    /// <summary>Of the choices: a token's is the number of its place.</summary>
    public CounterRandom Random { get; }

    /// <summary>Why the row ended, or null while it goes on.</summary>
    public FinishReason? Reason { get; private set; }

    /// <summary>Tokens of prompt and continuation.</summary>
    public int Length => Prompt.Count + generated.Count;

    public int LastToken => generated.Count > 0 ? generated[^1] : Prompt[^1];

    /// <summary>Takes the next token.</summary>
    /// <exception cref="LegatoException">None was chosen.</exception>
    public void Take(int choice, Action<GeneratedToken>? onToken)
    {
        int token = Sampler.Checked(choice);
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
        if (rest.Length > 0)
            onToken?.Invoke(new GeneratedToken(Row, null, rest));
    }

    public GeneratedRow Result() => new(generated, text.ToString(), Reason!.Value);
}
