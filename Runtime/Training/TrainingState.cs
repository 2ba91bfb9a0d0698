using System.Text.Json;
using System.Text.Json.Serialization;
using Legato.Runtime.Checkpoints;
using Legato.Runtime.Text;

namespace Legato.Runtime.Training;

/// <summary>
/// What a run must know to go on, beside weights and moments: how far it is, and what it was trained on and with.
/// The order of the data and all randomness follow from the seed and the step.
/// </summary>
/// <param name="Step">Steps done.</param>
/// <param name="Tokenizer">The hash of the tokenizer (<see cref="Text.Tokenizer.Hash"/>).</param>
/// <param name="Data">Checksum of the tokens.</param>
/// <param name="TrainTokens">Tokens of the training part, from the data's start.</param>
public sealed record TrainingState(long Step, TrainingOptions Options, string Tokenizer, string Data, long TrainTokens)
{
    public const string FileName = "training_state.json";

    private const int CurrentVersion = 1;

    private static readonly JsonSerializerOptions Format = new()
    {
        WriteIndented = true,
        IgnoreReadOnlyProperties = true,
        PropertyNamingPolicy = JsonNamingPolicy.SnakeCaseLower,
        UnmappedMemberHandling = JsonUnmappedMemberHandling.Disallow,
        Converters = { new JsonStringEnumConverter(JsonNamingPolicy.SnakeCaseLower) },
    };

    public int Version { get; init; } = CurrentVersion;

    /// <summary>Of the files of weights and moments, by their names; null in a checkpoint from before they were recorded.</summary>
    public IReadOnlyDictionary<string, string>? Checksums { get; init; }

    /// <exception cref="LegatoException">The checkpoint has no training state, or a damaged one.</exception>
    public static TrainingState Read(string checkpoint)
    {
        string path = Path.Combine(checkpoint, FileName);
        try
        {
            TrainingState state = JsonSerializer.Deserialize<TrainingState>(File.ReadAllText(path), Format) ?? throw new JsonException("it is null");
            return state.Version == CurrentVersion && state.Options is not null
                ? state
                : throw new LegatoException($"the training state has version {state.Version}; this Legato reads version {CurrentVersion}", path);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or JsonException)
        {
            throw new LegatoException(
                $"the checkpoint has no usable training state: {Hindrance(e)}", path,
                "training resumes from a run's own checkpoints; to train on from bare weights, start a new run from that folder", e);
        }
    }

    private static string Hindrance(Exception e) =>
        e is JsonException { LineNumber: { } line } ? $"line {line + 1} is not what Legato writes" : FileHindrance.Of(e);

    /// <summary>
    /// Refuses another tokenizer than the one a checkpoint was trained with. A checkpoint from elsewhere, without a
    /// training state, records none and takes any.
    /// </summary>
    /// <exception cref="LegatoException">The tokenizer is another one, or the training state is damaged.</exception>
    public static void RequireTokenizer(string checkpoint, Tokenizer tokenizer)
    {
        if (File.Exists(Path.Combine(checkpoint, FileName)))
            tokenizer.RequireHash(Read(checkpoint).Tokenizer, checkpoint);
    }

    public void Write(string folder) => AtomicWrite.Text(Path.Combine(folder, FileName), JsonSerializer.Serialize(this, Format));

    /// <summary>Refuses to go on with something else than the run began with.</summary>
    /// <exception cref="LegatoException">Lists all that differs.</exception>
    public void RequireSame(TrainingState now, string where)
    {
        (string Name, object Then, object Now)[] all =
        [
            ("tokenizer", Tokenizer, now.Tokenizer),
            ("data", Data, now.Data),
            ("tokens to train on", TrainTokens, now.TrainTokens),
            ("batch", Options.Batch, now.Options.Batch),
            ("seq", Options.Sequence, now.Options.Sequence),
            ("source", Options.Source, now.Options.Source),
            ("packed", Options.IsPacked, now.Options.IsPacked),
            ("accumulate", Options.Accumulate, now.Options.Accumulate),
            ("dropout", Options.Dropout, now.Options.Dropout),
            ("precision", Options.Precision, now.Options.Precision),
            ("objective", Options.Objective.Description, now.Options.Objective.Description),
            ("weight-decay", Options.Optimizer.WeightDecay, now.Options.Optimizer.WeightDecay),
            ("clip", Options.Optimizer.Clip, now.Options.Optimizer.Clip),
            ("beta1", Options.Optimizer.Beta1, now.Options.Optimizer.Beta1),
            ("beta2", Options.Optimizer.Beta2, now.Options.Optimizer.Beta2),
            ("eps", Options.Optimizer.Epsilon, now.Options.Optimizer.Epsilon),
            ("seed", Options.Seed, now.Options.Seed),
        ];
        string[] differences = [.. all.Where(d => !d.Then.Equals(d.Now)).Select(d => $"{d.Name}: {d.Then} then, {d.Now} now")];
        if (differences.Length > 0)
            throw new LegatoException(
                $"the run can't be resumed, since this differs:\n  {string.Join("\n  ", differences)}", where,
                "resume with what the run began with, or start a new run");
    }
}
