using System.IO.Compression;
using System.Text;
using System.Text.Json;
using Legato.Runtime.Text;
using Legato.Runtime.Text.Training;
using NUnit.Framework;

namespace Legato.Tests;

/// <summary>Tokenizers and texts that several fixtures use.</summary>
internal static class TextFixtures
{
    public static JsonElement ReadGzipJson(string path)
    {
        using var stream = new GZipStream(File.OpenRead(path), CompressionMode.Decompress);
        using var document = JsonDocument.Parse(stream);
        return document.RootElement.Clone();
    }

    /// <summary>A corpus of made-up words with numbers, signs and indented lines; a seed gives one text.</summary>
    public static string Corpus(int seed, int length)
    {
        var random = new Random(seed);
        var words = new string[2000];
        for (int i = 0; i < words.Length; i++)
            words[i] = string.Concat(Enumerable.Range(0, 2 + random.Next(7)).Select(_ => "etaoinshrdlu"[random.Next(12)]));
        var text = new StringBuilder(length + 16);
        while (text.Length < length)
        {
            text.Append(words[(int)(words.Length * Math.Pow(random.NextDouble(), 3))]);
            text.Append(random.Next(12) switch { 0 => ". ", 1 => ",\n", 2 => $" {random.Next(1000)} ", 3 => "\n    ", _ => " " });
        }
        return text.ToString(0, length);
    }

    /// <summary>A string of characters from everywhere in Unicode, now and then with a lone surrogate.</summary>
    public static string RandomText(Random random, int length, bool wellFormed)
    {
        var text = new StringBuilder();
        for (int i = 0; i < length; i++)
        {
            int kind = random.Next(wellFormed ? 9 : 10);
            text.Append(kind switch
            {
                0 => "'s't'LL'Re'\u017Fa \r\n\t/",
                1 => new string(' ', random.Next(1, 6)),
                2 => char.ConvertFromUtf32(random.Next(0x10000, 0x110000)),
                3 => ((char)random.Next(0x80, 0x800)).ToString(),
                4 => ((char)random.Next(0x800, 0xD800)).ToString(),
                5 => random.Next(10000).ToString(),
                6 => ((char)random.Next(0x20, 0x7F)).ToString(),
                7 => "Word word WORD".Substring(random.Next(8), random.Next(1, 6)),
                8 => "\n\n  \u00A0\u3000\u2028"[..random.Next(1, 7)],
                _ => ((char)random.Next(0xD800, 0xE000)).ToString(),
            });
        }
        return text.ToString();
    }

    public static Tokenizer Train(TokenizerKind kind, int size, params string[] specialTokens) => TokenizerTrainer.Train(
        kind, [Corpus(1, 60_000)], new TokenizerTrainingOptions { VocabularySize = size, SpecialTokens = specialTokens });

    /// <summary>What a load or a rendering may throw, and nothing else.</summary>
    public static bool FailsOnlyByMistake(Action action)
    {
        try
        {
            action();
            return true;
        }
        catch (Legato.Runtime.LegatoException)
        {
            return false;
        }
    }

    /// <summary>Changes, drops, doubles or moves a few bytes, most often in one place; seldom cuts the end off.</summary>
    public static byte[] Mutate(byte[] content, Random random)
    {
        var bytes = new List<byte>(content);
        for (int edits = random.Next(3) == 0 ? 1 + random.Next(4) : 1; edits > 0 && bytes.Count > 0; edits--)
        {
            int at = random.Next(bytes.Count), length = Math.Min(bytes.Count - at, 1 + random.Next(12));
            switch (random.Next(16))
            {
                case < 3: bytes[at] = (byte)random.Next(256); break;
                case < 6: bytes[at] ^= (byte)(1 << random.Next(8)); break;
                case < 9: bytes[at] = (byte)random.Next('0', 'z'); break;
                case < 11: bytes.RemoveRange(at, length); break;
                case < 13: bytes.InsertRange(at, bytes.GetRange(at, length)); break;
                case < 15: bytes.InsertRange(random.Next(bytes.Count), bytes.GetRange(at, length)); break;
                default: bytes.RemoveRange(at, bytes.Count - at); break;
            }
        }
        return [.. bytes];
    }
}
