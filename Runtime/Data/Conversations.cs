using System.Text.Json;
using Legato.Runtime.Text;
using Legato.Runtime.Text.Chat;
using Legato.Runtime.Text.Formats;

namespace Legato.Runtime.Data;

/// <summary>
/// Conversations to learn from: files of JSON lines, each line an object with "messages" and what else a chat template
/// reads (<see cref="ChatRequest.FromJson"/>). Empty lines are skipped, and so is a byte order mark.
/// </summary>
public sealed class Conversations
{
    private const string Extension = ".jsonl";

    private Conversations(IReadOnlyList<string> paths) => Paths = paths;

    public IReadOnlyList<string> Paths { get; }

    /// <summary>Whether a file of that name holds conversations.</summary>
    public static bool IsNamed(string path) => path.EndsWith(Extension, StringComparison.OrdinalIgnoreCase);

    /// <exception cref="LegatoException">A file is missing or holds something else.</exception>
    public static Conversations Find(params IEnumerable<string> paths)
    {
        var files = TextFiles.Find(paths).Paths;
        return files.FirstOrDefault(path => !IsNamed(path)) is { } other
            ? throw new LegatoException("conversations and other text can't be learned from together", other, "train on the one, then on the other")
            : new Conversations(files);
    }

    /// <summary>Reads one after another.</summary>
    /// <exception cref="LegatoException">A line is no UTF-8 or no conversation, or what is done with it fails: names the line. Or the file has no end.</exception>
    public void ForEach(Action<ChatRequest> work)
    {
        foreach (string path in Paths)
        {
            using var lines = new Utf8Lines(EndlessFile.Open(path));
            bool isThere = true;
            for (int number = 1; isThere; number++)
                At($"{path}, line {number}", () =>
                {
                    string? line = lines.ReadLine();
                    isThere = line is not null;
                    if (!string.IsNullOrWhiteSpace(line))
                        work(Parse(line));
                });
        }
    }

    private static ChatRequest Parse(string line)
    {
        using JsonDocument json = JsonDocument.Parse(line);
        return ChatRequest.FromJson(json.RootElement.Clone());
    }

    private static void At(string where, Action work)
    {
        try
        {
            work();
        }
        catch (JsonException e)
        {
            throw new LegatoException($"the line is no well-formed JSON from {JsonPlace.Of(e)} on", where, "write one conversation a line: {\"messages\": […]}", e);
        }
        catch (LegatoException e)
        {
            throw new LegatoException(e.What, where, e.Remedy, e);
        }
    }
}
