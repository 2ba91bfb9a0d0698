using System.Buffers;
using System.Text.Json;
using Legato.Runtime.Checkpoints;

namespace Legato.Runtime.Training;

/// <summary>
/// The run's figures: one JSON object a line in <c>metrics.jsonl</c>, and the curves of loss for the report.
/// A resumed run drops the lines of steps that it does again.
/// </summary>
internal sealed class MetricsLog : IDisposable
{
    private readonly FileStream stream;
    private readonly ArrayBufferWriter<byte> line = new(512);
    private readonly Utf8JsonWriter json;

    private MetricsLog(FileStream stream)
    {
        this.stream = stream;
        json = new Utf8JsonWriter(line);
    }

    /// <summary>Whether the file holds nothing yet.</summary>
    public bool IsEmpty => stream.Length == 0;

    public List<(long Step, float Loss)> Losses { get; } = [];

    public List<(long Step, double Loss)> Evaluations { get; } = [];

    /// <summary>Goes on with the file behind the lines of the first <paramref name="steps"/> steps.</summary>
    /// <exception cref="LegatoException">The file can't be read or written.</exception>
    public static MetricsLog Open(string path, long steps)
    {
        (List<string> lines, List<(long, float)> losses, List<(long, double)> evaluations) = Read(path, steps);
        AtomicWrite.File(path, file =>
        {
            using var text = new StreamWriter(file, leaveOpen: true) { NewLine = "\n" };
            foreach (string line in lines)
                text.WriteLine(line);
        });
        try
        {
            // Without a buffer: what can't be written then doesn't fail a second time when the file is closed.
            var log = new MetricsLog(new FileStream(path, FileMode.Append, FileAccess.Write, FileShare.Read, bufferSize: 0));
            log.Losses.AddRange(losses);
            log.Evaluations.AddRange(evaluations);
            return log;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw Unwritable(path, e);
        }
    }

    public void Add(in StepMetrics metrics, EvaluationResult? evaluation, string? warning, IReadOnlyList<RouterLoad> loads)
    {
        Losses.Add((metrics.Step, metrics.Loss));
        if (evaluation is { } result)
            Evaluations.Add((metrics.Step, result.Loss));
        line.ResetWrittenCount();
        json.Reset(line);
        Write(metrics, evaluation, warning, loads);
        json.Flush();
        line.Write("\n"u8);
        try
        {
            stream.Write(line.WrittenSpan);
            stream.Flush();
        }
        catch (IOException e)
        {
            throw Unwritable(stream.Name, e);
        }
    }

    public void Dispose()
    {
        json.Dispose();
        stream.Dispose();
    }

    private void Write(in StepMetrics metrics, EvaluationResult? evaluation, string? warning, IReadOnlyList<RouterLoad> loads)
    {
        json.WriteStartObject();
        json.WriteNumber("step"u8, metrics.Step);
        WriteFinite("loss"u8, metrics.Loss);
        WriteFinite("gradient_norm"u8, metrics.GradientNorm);
        json.WriteNumber("rate"u8, metrics.Rate);
        json.WriteNumber("tokens_per_second"u8, Math.Round(metrics.TokensPerSecond, 1));
        json.WriteNumber("seconds"u8, Math.Round(metrics.Seconds, 3));
        if (evaluation is { } result)
        {
            WriteFinite("evaluation_loss"u8, (float)result.Loss);
            WriteFinite("perplexity"u8, (float)result.Perplexity);
        }
        if (loads.Count > 0)
            Write(loads);
        if (warning is not null)
            json.WriteString("warning"u8, warning);
        json.WriteEndObject();
    }

    private void Write(IReadOnlyList<RouterLoad> loads)
    {
        json.WriteStartObject("expert_load"u8);
        foreach (RouterLoad load in loads)
        {
            json.WriteStartArray(load.Router);
            for (int layer = 0; layer < load.Layers; layer++)
            {
                json.WriteStartArray();
                foreach (float share in load.Shares(layer))
                    json.WriteNumberValue(MathF.Round(share, 4));
                json.WriteEndArray();
            }
            json.WriteEndArray();
        }
        json.WriteEndObject();
    }

    // JSON has no NaN.
    private void WriteFinite(ReadOnlySpan<byte> name, float value)
    {
        if (float.IsFinite(value))
            json.WriteNumber(name, value);
        else
            json.WriteNull(name);
    }

    private static (List<string>, List<(long, float)>, List<(long, double)>) Read(string path, long steps)
    {
        var (lines, losses, evaluations) = (new List<string>(), new List<(long, float)>(), new List<(long, double)>());
        if (steps == 0 || !File.Exists(path))
            return (lines, losses, evaluations);
        foreach (string line in File.ReadLines(path))
        {
            if (!TryRead(line, out long step, out float loss, out double? evaluation) || step > steps)
                break;
            lines.Add(line);
            losses.Add((step, loss));
            if (evaluation is { } value)
                evaluations.Add((step, value));
        }
        return (lines, losses, evaluations);
    }

    // A killed run may leave a line cut off: it and what follows belong to steps done again.
    private static bool TryRead(string line, out long step, out float loss, out double? evaluation)
    {
        (step, loss, evaluation) = (0, float.NaN, null);
        try
        {
            using JsonDocument document = JsonDocument.Parse(line);
            step = document.RootElement.GetProperty("step").GetInt64();
            if (document.RootElement.GetProperty("loss") is { ValueKind: JsonValueKind.Number } number)
                loss = number.GetSingle();
            if (document.RootElement.TryGetProperty("evaluation_loss", out JsonElement held) && held.ValueKind == JsonValueKind.Number)
                evaluation = held.GetDouble();
            return true;
        }
        catch (Exception e) when (e is JsonException or KeyNotFoundException or InvalidOperationException or FormatException)
        {
            return false;
        }
    }

    private static LegatoException Unwritable(string path, Exception e) =>
        new($"can't write the metrics: {FileHindrance.Of(e)}", path, "free some disk space or choose a folder that you may write to; the last checkpoint is whole", e);
}
