using Legato.Runtime.Checkpoints;
using Legato.Runtime.Data;
using Legato.Runtime.Devices;
using Legato.Runtime.Plans;
using Legato.Runtime.Text;

namespace Legato.Runtime.Generation;

/// <summary>The sizes that a generator is made for.</summary>
/// <param name="Batch">Rows that are continued at a time; more prompts are taken one group after another.</param>
/// <param name="Context">Tokens of a row, prompt and continuation together, that the cache holds.</param>
/// <param name="Chunk">Tokens of a prompt that one prefill takes; longer prompts take several.</param>
/// <param name="Source">Tokens of a row that an encoder reads, for models that have one beside a decoder.</param>
public sealed record GeneratorSizes(int Batch, int Context, int Chunk = 512, string Precision = "fp32", int Source = 0);

/// <summary>
/// Continues prompts: prefill fills the cache, decode adds a token a row, which is chosen on the device; the host follows, a
/// few tokens behind where the device works by itself. Prompts of one call may have different lengths. For a model with an
/// encoder a prompt is the source: the encoder reads it, and the model's own text starts with its begin token.
/// </summary>
public sealed class Generator : IDisposable
{
    private readonly ModelDescription model;
    private readonly ModelMemory memory;
    private readonly GeneratorSizes sizes;
    private readonly Tokenizer? tokenizer;
    private readonly CachedModel prefill;
    private readonly CachedModel decode;
    private readonly SourceReader? reader;
    private readonly int chunk;
    private readonly int[] tokens;
    private readonly int[] past;
    private readonly int[] last;
    private readonly int[] places;
    private readonly CounterRandom[] randoms;

    /// <summary>Makes the plans ready over parameters that are, or will be, in <paramref name="memory"/>.</summary>
    /// <param name="tokenizer">Turns tokens into text; without it rows have no text and stop strings can't be used.</param>
    /// <exception cref="LegatoException">The plan source refuses the sizes.</exception>
    public Generator(IPlanSource plans, ModelMemory memory, GeneratorSizes sizes, Tokenizer? tokenizer = null)
    {
        (model, this.memory, this.sizes, this.tokenizer) = (plans.Model, memory, sizes, tokenizer);
        chunk = Math.Min(sizes.Chunk, sizes.Context);
        var made = new Stack<IDisposable>();
        T Keep<T>(T part)
            where T : IDisposable
        {
            made.Push(part);
            return part;
        }
        Plan Of(Purpose purpose, int sequence) => plans.Plan(new PlanRequest(
            purpose, sizes.Batch, sequence, sizes.Context, sizes.Precision,
            NarrowActivations: memory.Device.NarrowsActivations, Source: sizes.Source));
        CachedModel Cached(Plan plan) => Keep(new CachedModel(memory.Device, memory.Compile(TokenChooser.Choosing(plan))));
        try
        {
            prefill = Cached(Of(Purpose.Prefill, chunk));
            decode = Cached(Of(Purpose.Decode, 1));
            if (model.Task == ModelTask.SequenceToSequence)
                reader = Keep(new SourceReader(memory.Compile(Of(Purpose.Encode, 1)), sizes.Batch, sizes.Source));
        }
        catch
        {
            while (made.TryPop(out IDisposable? part))
                part.Dispose();
            throw;
        }
        tokens = new int[sizes.Batch * chunk];
        past = new int[sizes.Batch];
        last = new int[sizes.Batch];
        places = new int[sizes.Batch];
        randoms = new CounterRandom[sizes.Batch];
    }

    /// <summary>Continues texts.</summary>
    /// <exception cref="LegatoException">As <see cref="Generate(IReadOnlyList{int[]}, GenerationOptions, Action{GeneratedToken}?, CancellationToken)"/>.</exception>
    public GeneratedRow[] Generate(
        IReadOnlyList<string> prompts, GenerationOptions options, Action<GeneratedToken>? onToken = null, CancellationToken cancellation = default)
    {
        if (tokenizer is null)
            throw new InvalidOperationException("a generator without a tokenizer takes tokens");
        return Generate([.. prompts.Select(p => reader is null ? tokenizer.EncodeIds(p) : SourceText.Encode(tokenizer, p))], options, onToken, cancellation);
    }

    /// <summary>
    /// Continues rows of tokens. An empty row begins with the model's begin token. <paramref name="onToken"/> is called
    /// for each token as it is chosen.
    /// </summary>
    /// <exception cref="LegatoException">
    /// A prompt and its continuation don't fit into the context, a token is not of the vocabulary, or an option is out of
    /// its bounds: before anything runs.
    /// </exception>
    /// <exception cref="InvalidOperationException">The model's weights were never written.</exception>
    public GeneratedRow[] Generate(
        IReadOnlyList<int[]> prompts, GenerationOptions options, Action<GeneratedToken>? onToken = null, CancellationToken cancellation = default)
    {
        if (memory.Unwritten is { } parameter)
            throw new InvalidOperationException(
                $"the weights were not loaded: nothing has been written to {parameter}, among others; call HubCheckpoint.Load(folder, plans.Model, memory.Parameter) before");
        options.Sampling.Check();
        if (options.Stop.Any(string.IsNullOrEmpty))
            throw new LegatoException("a stop string is empty", remedy: "give a text to stop at, or none");
        if (options.Stop.Count > 0 && tokenizer is null)
            throw new InvalidOperationException("a generator without a tokenizer has no text to stop at");
        IReadOnlyList<int> ends = options.EndTokens ?? model.EndTokens;
        int[][] sources = reader is null ? [] : [.. prompts.Select(CheckedSource)];
        IEnumerable<int[]> starts = reader is null ? prompts : prompts.Select(_ => Array.Empty<int>());
        RowState[] rows = [.. starts.Select((prompt, i) => new RowState(i, Checked(prompt, i, options), options, ends, tokenizer))];
        for (int start = 0; start < rows.Length; start += sizes.Batch)
        {
            int count = Math.Min(sizes.Batch, rows.Length - start);
            if (reader is not null)
                Read(sources.AsSpan(start, count));
            Continue(rows.AsSpan(start, count), options, onToken, cancellation);
        }
        return [.. rows.Select(r => r.Result())];
    }

    public void Dispose()
    {
        prefill.Dispose();
        decode.Dispose();
        reader?.Dispose();
    }

    private void Read(ReadOnlySpan<int[]> sources)
    {
        for (int row = 0; row < sources.Length; row++)
            past[row] = sources[row].Length;
        ReadOnlySpan<int> lengths = past.AsSpan(0, sources.Length);
        reader!.Run(sources, lengths);
        prefill.SetSourceLengths(lengths);
        decode.SetSourceLengths(lengths);
    }

    private int[] CheckedSource(int[] source, int row)
    {
        CheckTokens(source, row);
        return source.Length > 0 && source.Length <= sizes.Source ? source : throw new LegatoException(
            $"prompt {row} has {Counted.Of(source.Length, "token")}; the encoder reads 1 to {sizes.Source}", remedy: "change the prompt, or the generator's sizes");
    }

    private void CheckTokens(int[] tokens, int row)
    {
        foreach (int token in tokens)
            if (token < 0 || token >= model.Vocabulary)
                throw new LegatoException(
                    $"token {token} of prompt {row} is outside the vocabulary of {model.Vocabulary}", remedy: "use the model's own tokenizer");
    }

    private int[] Checked(int[] prompt, int row, GenerationOptions options)
    {
        if (options.MaxTokens < 0)
            throw new LegatoException($"{options.MaxTokens} tokens can't be generated", remedy: "give a number from 0 up");
        int[] tokens = prompt.Length > 0 ? prompt : model.BeginToken is { } begin ? [begin] : throw new LegatoException(
            "the prompt is empty, and the model has no token to begin with", remedy: "give a prompt");
        CheckTokens(tokens, row);
        if ((long)tokens.Length + options.MaxTokens > sizes.Context)
            throw new LegatoException(
                $"prompt {row} has {Counted.Of(tokens.Length, "token")}; with {options.MaxTokens} more it exceeds the context of {sizes.Context}",
                remedy: tokens.Length < sizes.Context ? $"shorten the prompt, or ask for {sizes.Context - tokens.Length} at most" : "shorten the prompt");
        return tokens;
    }

    private void Continue(Span<RowState> rows, GenerationOptions options, Action<GeneratedToken>? onToken, CancellationToken cancellation)
    {
        if (options.MaxTokens == 0)
        {
            foreach (RowState row in rows)
                row.Finish(FinishReason.Length, onToken);
            return;
        }
        for (int r = 0; r < rows.Length; r++)
            randoms[r] = rows[r].Random;
        prefill.Chooser.Begin(options.Sampling, randoms.AsSpan(0, rows.Length));
        decode.Chooser.Begin(options.Sampling, randoms.AsSpan(0, rows.Length));
        Prefill(rows, onToken, cancellation);
        Decode(rows, options.MaxTokens - 1, onToken, cancellation);
        foreach (RowState row in rows)
            if (row.Reason is null)
                row.Finish(FinishReason.Cancelled, onToken);
    }

    // Rows are padded to the chunk's longest; what padding leaves in the cache lies beyond the row's own tokens, and
    // decode writes over it before it is read.
    private void Prefill(Span<RowState> rows, Action<GeneratedToken>? onToken, CancellationToken cancellation)
    {
        int longest = 0;
        foreach (RowState row in rows)
            longest = Math.Max(longest, row.Prompt.Count);
        for (int start = 0; start < longest && !cancellation.IsCancellationRequested; start += chunk)
        {
            int length = Math.Min(chunk, longest - start);
            for (int r = 0; r < rows.Length; r++)
            {
                IReadOnlyList<int> prompt = rows[r].Prompt;
                for (int i = 0; i < length; i++)
                    tokens[r * length + i] = start + i < prompt.Count ? prompt[start + i] : 0;
                past[r] = start;
                // Below zero: the row has no token here.
                last[r] = Math.Clamp(prompt.Count - 1 - start, -1, length - 1);
                places[r] = start + last[r] + 1;
            }
            prefill.Set(rows.Length, length, tokens, past, last);
            prefill.Chooser.Place(places.AsSpan(0, rows.Length));
            prefill.Start(rows.Length, length);
            Span<int> chosen = tokens.AsSpan(0, rows.Length);
            prefill.Chooser.Finish(chosen);
            for (int r = 0; r < rows.Length; r++)
                if (rows[r].Prompt.Count > start && rows[r].Prompt.Count <= start + length)
                    rows[r].Take(chosen[r], onToken);
        }
    }

    // What is chosen for a row after its end is discarded; its places stay within the context, as no more steps are started than
    // the rows may have tokens.
    private void Decode(Span<RowState> rows, int steps, Action<GeneratedToken>? onToken, CancellationToken cancellation)
    {
        for (int r = 0; r < rows.Length; r++)
            (tokens[r], past[r], last[r], places[r]) = (rows[r].LastToken, rows[r].Length - 1, 0, rows[r].Length);
        decode.Set(rows.Length, 1, tokens, past, last);
        decode.Chooser.Place(places.AsSpan(0, rows.Length));
        Span<int> chosen = tokens.AsSpan(0, rows.Length);
        while (!cancellation.IsCancellationRequested && Going(rows) is > 0 and int going)
        {
            for (; steps > 0 && !decode.Chooser.IsBusy; steps--)
                decode.Start(going, 1);
            decode.Chooser.Finish(chosen[..going]);
            for (int r = 0; r < going; r++)
                if (rows[r].Reason is null)
                    rows[r].Take(chosen[r], onToken);
        }
    }

    // Rows up to the last that goes on: those behind it need no more work.
    private static int Going(Span<RowState> rows)
    {
        int count = rows.Length;
        while (count > 0 && rows[count - 1].Reason is not null)
            count--;
        return count;
    }
}
