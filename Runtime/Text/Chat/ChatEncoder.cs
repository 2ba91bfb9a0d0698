using System.Text.Json;

namespace Legato.Runtime.Text.Chat;

/// <summary>A chat as a model is fed it.</summary>
/// <param name="Text">The rendered text.</param>
/// <param name="Ids">Its tokens.</param>
/// <param name="AssistantMask">For each token whether the assistant wrote it: what fine-tuning learns from.</param>
public sealed record ChatTokens(string Text, int[] Ids, bool[] AssistantMask);

/// <summary>
/// Renders chats and encodes them, the same way for training and for serving. Special tokens come from the template
/// alone: their spellings in a message are text. The sequence begins with at most one begin token.
/// </summary>
public sealed class ChatEncoder
{
    private readonly Tokenizer tokenizer;
    private readonly ChatTemplates templates;
    private readonly LiteralText literals;

    /// <param name="tokenizer">The model's tokenizer.</param>
    /// <param name="templates">The templates; when null, those that ship with the tokenizer.</param>
    public ChatEncoder(Tokenizer tokenizer, ChatTemplates? templates = null)
    {
        this.tokenizer = tokenizer;
        this.templates = templates ?? ChatTemplates.Of(tokenizer);
        literals = new LiteralText(tokenizer.AddedTokens);
    }

    /// <summary>Renders and encodes a chat for serving; the mask is empty.</summary>
    public ChatTokens Encode(ChatRequest request)
    {
        var rendered = Render(request, out var literal);
        return new ChatTokens(rendered.Text, EncodeText(rendered.Text, literal).Ids, []);
    }

    /// <summary>Renders and encodes a chat for training, with the mask of what the assistant wrote.</summary>
    /// <exception cref="LegatoException">
    /// The template neither marks generation nor renders earlier messages as it does in the whole, so that what the
    /// assistant wrote can't be told apart.
    /// </exception>
    public ChatTokens EncodeForTraining(ChatRequest request)
    {
        var rendered = Render(request, out var literal);
        var spans = rendered.MarksGeneration ? rendered.GeneratedSpans : FindAssistant(request, rendered.Text);
        var (ids, offsets) = EncodeText(rendered.Text, literal);
        var mask = new bool[ids.Length];
        for (int i = 0; i < mask.Length; i++)
            foreach (var span in spans)
                mask[i] |= offsets[i].Length > 0 && offsets[i].Start >= span.Start && offsets[i].End <= span.End;
        return new ChatTokens(rendered.Text, ids, mask);
    }

    private ChatRendering Render(ChatRequest request, out List<TextSpan> literal)
    {
        var rendering = templates.Render(request with
        {
            BeginToken = request.BeginToken ?? SpellingOf(tokenizer.BeginOfSequenceId),
            EndToken = request.EndToken ?? SpellingOf(tokenizer.EndOfSequenceId),
        }, literals.Hide);
        literal = [];
        var spans = rendering.GeneratedSpans;
        string text = literals.Restore(rendering.Text, literal, ref spans);
        return rendering with { Text = text, GeneratedSpans = spans };
    }

    private string? SpellingOf(int? id) => id is int known ? tokenizer.TokenOf(known) : null;

    // What the template begins with stays; otherwise the tokenizer's own begin token is put first.
    private (int[] Ids, TextSpan[] Offsets) EncodeText(string text, List<TextSpan> literal)
    {
        var tokens = tokenizer.EncodeExcept(text, literal);
        if (tokenizer.BeginOfSequenceId is not int begin)
            return (tokens.Ids, tokens.Offsets);
        int skip = 0;
        while (skip < tokens.Count && tokens.Ids[skip] == begin)
            skip++;
        bool begins = skip > 0 || tokenizer.EncodeIds("") is [var first, ..] && first == begin;
        return begins
            ? ([begin, .. tokens.Ids[skip..]], [default, .. tokens.Offsets[skip..]])
            : (tokens.Ids, tokens.Offsets);
    }

    // An assistant's message is what comes between the chat up to it, with the generation prompt, and the chat with it.
    private List<TextSpan> FindAssistant(ChatRequest request, string whole)
    {
        var spans = new List<TextSpan>();
        var messages = request.Messages.EnumerateArray().ToList();
        for (int i = 0; i < messages.Count; i++)
        {
            if (!IsAssistant(messages[i]))
                continue;
            string before = Render(Part(request, messages, i, addPrompt: true), out _).Text;
            string after = Render(Part(request, messages, i + 1, addPrompt: false), out _).Text;
            int end = after.AsSpan().CommonPrefixLength(whole);
            if (!whole.StartsWith(before, StringComparison.Ordinal) || end < before.Length)
                throw new LegatoException(
                    $"the template renders the chat before message {i} otherwise than in the whole, so the assistant's part can't be told apart",
                    "chat template", "mark the assistant's parts in it by {% generation %} … {% endgeneration %}");
            spans.Add(new TextSpan(before.Length, end));
        }
        return spans;
    }

    private static bool IsAssistant(JsonElement message) => message.ValueKind == JsonValueKind.Object
        && message.TryGetProperty("role", out var role) && role.ValueKind == JsonValueKind.String && role.ValueEquals("assistant");

    private static ChatRequest Part(ChatRequest request, List<JsonElement> messages, int count, bool addPrompt) => request with
    {
        Messages = JsonSerializer.SerializeToElement(messages.Take(count)),
        AddGenerationPrompt = addPrompt,
    };
}
