using System.Text;
using Legato.Runtime.Text.Normalizers;
using Legato.Runtime.Text.Pipeline;

namespace Legato.Runtime.Text.Formats;

/// <summary>Reads the element "normalizer" of tokenizer.json.</summary>
internal static class NormalizerReader
{
    public static INormalizer Read(JsonValue stage) => stage["type"].String() switch
    {
        "NFC" => new UnicodeFormNormalizer(NormalizationForm.FormC),
        "NFD" => new UnicodeFormNormalizer(NormalizationForm.FormD),
        "NFKC" => new UnicodeFormNormalizer(NormalizationForm.FormKC),
        "NFKD" => new UnicodeFormNormalizer(NormalizationForm.FormKD),
        "Lowercase" => new LowercaseNormalizer(),
        "StripAccents" => new StripAccentsNormalizer(),
        "Nmt" => new NmtNormalizer(),
        "ByteLevel" => new ByteLevelNormalizer(),
        "BertNormalizer" => new BertNormalizer(
            stage.Bool("clean_text", absent: true), stage.Bool("handle_chinese_chars", absent: true),
            stage.Optional("strip_accents")?.Bool(), stage.Bool("lowercase", absent: true)),
        "Replace" => stage["pattern"].Optional("Regex")?.String() == AppendNormalizer.End
            ? new AppendNormalizer(stage["content"].String())
            : new ReplaceNormalizer(PreTokenizerReader.ReadPattern(stage["pattern"]), stage["content"].String()),
        "Prepend" => new PrependNormalizer(stage["prepend"].String()),
        "Strip" => new StripNormalizer(stage.Bool("strip_left", absent: true), stage.Bool("strip_right", absent: true)),
        "Precompiled" => new PrecompiledNormalizer(ReadMap(stage["precompiled_charsmap"]), longestMatch: false),
        "Sequence" => new SequenceNormalizer([.. stage["normalizers"].Items().Select(Read)]),
        var other => throw stage.Wrong($"has the unknown type '{other}'"),
    };

    private static CharactersMap ReadMap(JsonValue value)
    {
        try
        {
            return new CharactersMap(Convert.FromBase64String(value.String()), value.Path);
        }
        catch (FormatException error)
        {
            throw new LegatoException("the precompiled character map is not base 64", value.Path, "check that the file was copied whole", error);
        }
    }
}
