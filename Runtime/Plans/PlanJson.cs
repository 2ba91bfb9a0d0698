using System.Text.Json;
using System.Text.Json.Serialization;

namespace Legato.Runtime.Plans;

/// <summary>Writes a value as the text that it prints.</summary>
internal sealed class TextConverter<T>(Func<T, string> write, Func<string, T> read) : JsonConverter<T>
    where T : class
{
    public override T Read(ref Utf8JsonReader reader, Type type, JsonSerializerOptions options) =>
        read(reader.TokenType == JsonTokenType.String ? reader.GetString()! : throw new JsonException($"expected the text of a {typeof(T).Name}"));

    public override void Write(Utf8JsonWriter writer, T value, JsonSerializerOptions options) => writer.WriteStringValue(write(value));
}

/// <summary>Writes a case of a closed record type as an object with the case's name in front: {"fused": {…}}.</summary>
internal sealed class VariantConverter<T> : JsonConverter<T>
    where T : class
{
    private static readonly Dictionary<string, Type> ByName =
        typeof(T).GetNestedTypes().Where(t => t.IsSubclassOf(typeof(T))).ToDictionary(t => JsonNamingPolicy.SnakeCaseLower.ConvertName(t.Name));

    // Only the base: the cases themselves are read and written as plain records.
    public override bool CanConvert(Type type) => type == typeof(T);

    public override T Read(ref Utf8JsonReader reader, Type type, JsonSerializerOptions options)
    {
        if (reader.TokenType != JsonTokenType.StartObject || !reader.Read() || reader.TokenType != JsonTokenType.PropertyName)
            throw new JsonException($"expected a {typeof(T).Name.ToLowerInvariant()}");
        string name = reader.GetString()!;
        if (!ByName.TryGetValue(name, out Type? variant))
            throw new JsonException($"'{name}' is no {typeof(T).Name.ToLowerInvariant()}");
        reader.Read();
        var value = (T?)JsonSerializer.Deserialize(ref reader, variant, options);
        if (value is null || !reader.Read() || reader.TokenType != JsonTokenType.EndObject)
            throw new JsonException($"a {name} is followed by something else");
        return value;
    }

    public override void Write(Utf8JsonWriter writer, T value, JsonSerializerOptions options)
    {
        writer.WriteStartObject();
        writer.WritePropertyName(JsonNamingPolicy.SnakeCaseLower.ConvertName(value.GetType().Name));
        JsonSerializer.Serialize(writer, value, value.GetType(), options);
        writer.WriteEndObject();
    }
}
