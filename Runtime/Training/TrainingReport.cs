using System.Globalization;
using System.Net;
using System.Text;
using Legato.Runtime.Checkpoints;

namespace Legato.Runtime.Training;

/// <summary>The run's page: what was trained, how it stands, and the curve of the loss. One file, no scripts.</summary>
internal static class TrainingReport
{
    private const string Style = """
        :root { color-scheme: light dark; --ink: #1f2328; --faint: #d8dee4; --paper: #ffffff; --line: #0a6bb5; --raw: #9ecbea; --held: #c2410c; }
        @media (prefers-color-scheme: dark) { :root { --ink: #e6edf3; --faint: #30363d; --paper: #0d1117; --line: #58a6ff; --raw: #1f4a73; --held: #ffa657; } }
        body { font: 16px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper); max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
        table { border-collapse: collapse; } td { padding: .15rem 1.5rem .15rem 0; } td:first-child { opacity: .7; }
        svg { width: 100%; height: auto; } svg text { fill: var(--ink); font-size: 12px; } .grid { stroke: var(--faint); }
        .raw { fill: none; stroke: var(--raw); } .mean { fill: none; stroke: var(--line); stroke-width: 2; } .held { fill: var(--held); }
        """;

    public static void Write(string path, string model, TrainingOptions options, MetricsLog log, IReadOnlyList<RouterLoad> loads)
    {
        var page = new StringBuilder();
        page.Append("<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" content=\"width=device-width\">\n");
        page.Append(CultureInfo.InvariantCulture, $"<title>{WebUtility.HtmlEncode(model)}</title>\n<style>\n{Style}\n</style>\n</head>\n<body>\n");
        page.Append(CultureInfo.InvariantCulture, $"<h1>{WebUtility.HtmlEncode(model)}</h1>\n<table>\n");
        foreach ((string name, string value) in Rows(options, log))
            page.Append(CultureInfo.InvariantCulture, $"<tr><td>{name}</td><td>{WebUtility.HtmlEncode(value)}</td></tr>\n");
        page.Append("</table>\n<h2>Loss</h2>\n");
        LossCurve.Append(page, log.Losses, log.Evaluations);
        AppendLoads(page, loads);
        page.Append("</body>\n</html>\n");
        AtomicWrite.Text(path, page.ToString());
    }

    private static void AppendLoads(StringBuilder page, IReadOnlyList<RouterLoad> loads)
    {
        if (loads.Count == 0)
            return;
        page.Append("<h2>Experts' shares of the tokens in the last step, in percent</h2>\n<table>\n");
        foreach (RouterLoad load in loads)
            for (int layer = 0; layer < load.Layers; layer++)
            {
                page.Append(CultureInfo.InvariantCulture, $"<tr><td>{WebUtility.HtmlEncode(load.Router)} {layer}</td>");
                foreach (float share in load.Shares(layer))
                    page.Append(CultureInfo.InvariantCulture, $"<td>{100 * share:F1}</td>");
                page.Append("</tr>\n");
            }
        page.Append("</table>\n");
    }

    private static IEnumerable<(string Name, string Value)> Rows(TrainingOptions options, MetricsLog log)
    {
        long step = log.Losses.Count > 0 ? log.Losses[^1].Step : 0;
        yield return ("steps", Text($"{step} of {options.Steps}"));
        yield return ("tokens a step", Text($"{options.Accumulate} × {options.Batch} × {options.Sequence} = {options.TokensPerStep}"));
        yield return ("learning rate", options.Rate.Description);
        if (log.Losses.Count > 0)
            yield return ("loss", Text($"{log.Losses[0].Loss:F4} at first, {log.Losses[^1].Loss:F4} at last"));
        if (log.Evaluations.Count > 0)
            yield return ("held out", Text($"{log.Evaluations[^1].Loss:F4}, perplexity {Math.Exp(log.Evaluations[^1].Loss):F3}"));
    }

    private static string Text(FormattableString text) => text.ToString(CultureInfo.InvariantCulture);
}
