using System.Text.Json;
using Legato.Runtime.Text.Chat;
using Legato.Runtime.Text.Formats;

namespace Legato.Runtime.Data;

/// <summary>
/// Conversations to learn from: files of JSON lines, each line an object with "messages" and what else a chat template
/// reads (<see cref="ChatRequest.FromJson"/>). Empty lines are skipped.
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
    /// <exception cref="LegatoException">A line is no conversation, or what is done with it fails: names the line.</exception>
    public void ForEach(Action<ChatRequest> work)
    {
        foreach (string path in Paths)
        {
            int number = 0;
            foreach (string line in File.ReadLines(path))
            {
                number++;
                if (!string.IsNullOrWhiteSpace(line))
                    At($"{path}, line {number}", () => work(Parse(line)));
            }
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
