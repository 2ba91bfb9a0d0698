using System.Text;
using System.Text.Json;
using Legato.Runtime.Text.Pipeline;
using Legato.Runtime.Text.Unicode;

namespace Legato.Runtime.Text.Normalizers;

/// <summary>The normalization forms NFC, NFD, NFKC and NFKD (Unicode Standard Annex 15).</summary>
internal sealed class UnicodeFormNormalizer(NormalizationForm form) : INormalizer
{
    private readonly bool compose = form is NormalizationForm.FormC or NormalizationForm.FormKC;
    private readonly bool compatibility = form is NormalizationForm.FormKC or NormalizationForm.FormKD;

    // Below these the form changes nothing.
    private readonly char firstAffected = form switch
    {
        NormalizationForm.FormC => '\u0300',
        NormalizationForm.FormD => '\u00C0',
        _ => '\u00A0',
    };

    /// <summary>One character of the decomposed text.</summary>
    private record struct Mark(int CodePoint, byte Class, TextSpan Source);

    /// <summary>True when the form leaves the text as it is, as far as one look tells.</summary>
    public bool LeavesAlone(ReadOnlySpan<char> text) => text.IndexOfAnyExceptInRange('\0', (char)(firstAffected - 1)) < 0;

    public AlignedText Normalize(AlignedText text)
    {
        if (LeavesAlone(text.Chars))
            return text;
        var marks = Decompose(text);
        if (compose)
            Compose(marks);
        var builder = new AlignedTextBuilder(text.Length);
        foreach (var mark in marks)
            builder.Append(mark.CodePoint, mark.Source);
        return builder.Build();
    }

    private List<Mark> Decompose(AlignedText text)
    {
        var marks = new List<Mark>(text.Length);
        var parts = new List<int>();
        int lastStarter = 0;
        for (int at = 0; at < text.Length;)
        {
            Rune.DecodeFromUtf16(text.Chars[at..], out var rune, out int length);
            var source = text.SourceOf(at, at + length);
            parts.Clear();
            NormalizationTables.Decompose(rune.Value, compatibility, parts);
            foreach (int part in parts)
            {
                byte combiningClass = NormalizationTables.ClassOf(part);
                if (combiningClass == 0)
                {
                    Reorder(marks, lastStarter);
                    lastStarter = marks.Count;
                }
                marks.Add(new Mark(part, combiningClass, source));
            }
            at += length;
        }
        Reorder(marks, lastStarter);
        return marks;
    }

    // Canonical ordering of the marks behind a starter; stable, and no worse than n log n for long runs.
    private static void Reorder(List<Mark> marks, int starter)
    {
        int first = starter < marks.Count && marks[starter].Class == 0 ? starter + 1 : starter;
        int count = marks.Count - first;
        bool ordered = true;
        for (int i = first + 1; i < marks.Count; i++)
            ordered &= marks[i - 1].Class <= marks[i].Class;
        if (ordered)
            return;
        var sorted = marks.Skip(first).OrderBy(mark => mark.Class).ToList();
        marks.RemoveRange(first, count);
        marks.AddRange(sorted);
    }

    private static void Compose(List<Mark> marks)
    {
        int kept = 0, starter = -1, lastClass = -1;
        foreach (var mark in marks.ToArray())
        {
            int composed = starter >= 0 && lastClass < mark.Class
                ? NormalizationTables.Compose(marks[starter].CodePoint, mark.CodePoint)
                : -1;
            if (composed >= 0)
            {
                marks[starter] = marks[starter] with { CodePoint = composed };
                continue;
            }
            if (mark.Class == 0)
            {
                starter = kept;
                lastClass = -1;
            }
            else
            {
                lastClass = mark.Class;
            }
            marks[kept++] = mark;
        }
        marks.RemoveRange(kept, marks.Count - kept);
    }

    public void Write(Utf8JsonWriter json)
    {
        json.WriteStartObject();
        json.WriteString("type", form switch
        {
            NormalizationForm.FormC => "NFC",
            NormalizationForm.FormD => "NFD",
            NormalizationForm.FormKC => "NFKC",
            _ => "NFKD",
        });
        json.WriteEndObject();
    }
}
