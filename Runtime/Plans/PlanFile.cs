using System.Text.Json;
using System.Text.Json.Serialization;
using Legato.Runtime.Checkpoints;

namespace Legato.Runtime.Plans;

/// <summary>
/// A plan as a JSON document, in a stable order: the same plan is the same text, so that plans can be compared. Sizes and
/// expressions are written as the text that they print.
/// </summary>
public static class PlanFile
{
    private const int CurrentVersion = 1;

    private const string Remedy = "write the plan anew with `legato plan --save`";

    private static readonly JsonSerializerOptions Format = new()
    {
        WriteIndented = true,
        IndentSize = 1,
        IgnoreReadOnlyProperties = true,
        PropertyNamingPolicy = JsonNamingPolicy.SnakeCaseLower,
        UnmappedMemberHandling = JsonUnmappedMemberHandling.Disallow,
        RespectNullableAnnotations = true,
        RespectRequiredConstructorParameters = true,
        NumberHandling = JsonNumberHandling.AllowNamedFloatingPointLiterals,
        Encoder = System.Text.Encodings.Web.JavaScriptEncoder.UnsafeRelaxedJsonEscaping,
        MaxDepth = 256,
        Converters =
        {
            new TextConverter<Extent>(e => e.ToString(), Extent.Parse),
            new TextConverter<Expr>(PlanText.Write, PlanText.ReadExpr),
            new TextConverter<Index>(PlanText.Write, PlanText.ReadIndex),
            new VariantConverter<Step>(),
            new VariantConverter<Statement>(),
            new JsonStringEnumConverter(JsonNamingPolicy.SnakeCaseLower),
        },
    };

    /// <summary>The plan as text.</summary>
    public static string Write(Plan plan) => JsonSerializer.Serialize(new Document(CurrentVersion, plan), Format) + "\n";

    /// <summary>Reads the form that <see cref="Write"/> gives.</summary>
    /// <param name="where">Where the text comes from, for errors.</param>
    /// <exception cref="LegatoException">The text is no plan, or of another version.</exception>
    public static Plan Read(string text, string where)
    {
        try
        {
            int version = Version(text);
            if (version != CurrentVersion)
                throw new LegatoException($"the plan has version {version}; this Legato reads version {CurrentVersion}", where, Remedy);
            return PlanCheck.Checked(JsonSerializer.Deserialize<Document>(text, Format)!.Plan);
        }
        catch (Exception e) when (e is JsonException or InvalidOperationException or FormatException or OverflowException)
        {
            throw new LegatoException($"the plan can't be read: {e.Message}", where, Remedy, e);
        }
        catch (LegatoException e) when (e.Where is null)
        {
            throw new LegatoException(e.What, where, e.Remedy, e);
        }
    }

    /// <exception cref="LegatoException">The file can't be written.</exception>
    public static void Save(string path, Plan plan) => AtomicWrite.Text(path, Write(plan));

    /// <exception cref="LegatoException">The file is missing, or no plan.</exception>
    public static Plan Load(string path) => Read(ReadText(path), path);

    /// <summary>A model's description as text, in the same manner.</summary>
    internal static string Write(ModelDescription model) => JsonSerializer.Serialize(model, Format) + "\n";

    /// <exception cref="LegatoException">The file is missing, or no model's description.</exception>
    internal static ModelDescription LoadModel(string path)
    {
        string text = ReadText(path);
        try
        {
            return JsonSerializer.Deserialize<ModelDescription>(text, Format) ?? throw new JsonException("it is null");
        }
        catch (Exception e) when (e is JsonException or InvalidOperationException)
        {
            throw new LegatoException($"the model's description can't be read: {e.Message}", path, Remedy, e);
        }
    }

    private static string ReadText(string path)
    {
        try
        {
            return File.ReadAllText(path);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new LegatoException($"the file can't be read: {FileHindrance.Of(e, path)}", path, Remedy, e);
        }
    }

    private static int Version(string text)
    {
        using JsonDocument document = JsonDocument.Parse(text, new JsonDocumentOptions { MaxDepth = Format.MaxDepth });
        return document.RootElement.ValueKind == JsonValueKind.Object
            && document.RootElement.TryGetProperty("version", out JsonElement version) && version.TryGetInt32(out int number)
            ? number
            : throw new JsonException("it has no version");
    }

    private sealed record Document(int Version, Plan Plan);
}
