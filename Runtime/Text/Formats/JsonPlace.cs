using System.Text.Json;

namespace Legato.Runtime.Text.Formats;

/// <summary>Where a document stops being JSON, in words of our own: those of the parser are for who calls it.</summary>
public static class JsonPlace
{
    /// <summary>"byte 7", or with its line where the document has several; both from 1.</summary>
    public static string Of(JsonException error)
    {
        string place = $"byte {error.BytePositionInLine + 1 ?? 1}";
        return error.LineNumber is > 0 and var line ? $"line {line + 1}, {place}" : place;
    }
}
