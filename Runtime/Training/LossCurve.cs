using System.Globalization;
using System.Text;

namespace Legato.Runtime.Training;

/// <summary>The loss over the steps as an inline SVG: every part of the curve, its moving mean, and the held-out losses as dots.</summary>
internal static class LossCurve
{
    private const int Width = 900;
    private const int Height = 400;
    private const int Margin = 50;
    private const int MostPoints = 800;

    public static void Append(StringBuilder page, List<(long Step, float Loss)> losses, List<(long Step, double Loss)> evaluations)
    {
        List<(long Step, double Loss)> points = Thin(losses);
        if (points.Count == 0)
        {
            page.Append("<p>No step was done yet.</p>\n");
            return;
        }
        var scale = new Scale(points, evaluations);
        page.Append(CultureInfo.InvariantCulture, $"<svg viewBox=\"0 0 {Width} {Height}\" role=\"img\" aria-label=\"Loss by step\">\n");
        AppendGrid(page, scale);
        AppendLine(page, "raw", points, scale);
        AppendLine(page, "mean", MovingMean(points), scale);
        foreach ((long step, double loss) in evaluations)
            if (double.IsFinite(loss))
                page.Append(CultureInfo.InvariantCulture, $"<circle class=\"held\" cx=\"{scale.X(step):F1}\" cy=\"{scale.Y(loss):F1}\" r=\"4\"><title>held out, step {step}: {loss:F4}</title></circle>\n");
        page.Append("</svg>\n<p>Line: the mean of the training loss; faint: each step; dots: held out.</p>\n");
    }

    // Buckets of steps, each by its mean.
    private static List<(long, double)> Thin(List<(long Step, float Loss)> losses)
    {
        var points = new List<(long, double)>();
        int bucket = (losses.Count + MostPoints - 1) / MostPoints;
        for (int start = 0; start < losses.Count; start += bucket)
        {
            (double sum, int count) = (0, 0);
            for (int i = start; i < Math.Min(start + bucket, losses.Count); i++)
                if (float.IsFinite(losses[i].Loss))
                    (sum, count) = (sum + losses[i].Loss, count + 1);
            if (count > 0)
                points.Add((losses[Math.Min(start + bucket, losses.Count) - 1].Step, sum / count));
        }
        return points;
    }

    private static List<(long, double)> MovingMean(List<(long Step, double Loss)> points)
    {
        var means = new List<(long, double)>(points.Count);
        double mean = points[0].Loss;
        double weight = Math.Clamp(20.0 / points.Count, 0.05, 1);
        foreach ((long step, double loss) in points)
            means.Add((step, mean += weight * (loss - mean)));
        return means;
    }

    private static void AppendLine(StringBuilder page, string style, List<(long Step, double Loss)> points, Scale scale)
    {
        page.Append(CultureInfo.InvariantCulture, $"<polyline class=\"{style}\" points=\"");
        foreach ((long step, double loss) in points)
            page.Append(CultureInfo.InvariantCulture, $"{scale.X(step):F1},{scale.Y(loss):F1} ");
        page.Append("\"/>\n");
    }

    private static void AppendGrid(StringBuilder page, Scale scale)
    {
        for (int i = 0; i <= 4; i++)
        {
            double loss = scale.Least + (scale.Most - scale.Least) * i / 4;
            double step = scale.First + (double)(scale.Last - scale.First) * i / 4;
            page.Append(CultureInfo.InvariantCulture, $"<line class=\"grid\" x1=\"{Margin}\" x2=\"{Width - Margin}\" y1=\"{scale.Y(loss):F1}\" y2=\"{scale.Y(loss):F1}\"/>\n");
            page.Append(CultureInfo.InvariantCulture, $"<text x=\"{Margin - 6}\" y=\"{scale.Y(loss) + 4:F1}\" text-anchor=\"end\">{loss:F2}</text>\n");
            page.Append(CultureInfo.InvariantCulture, $"<text x=\"{scale.X(step):F1}\" y=\"{Height - Margin + 20}\" text-anchor=\"middle\">{step:F0}</text>\n");
        }
    }

    private readonly struct Scale
    {
        public Scale(List<(long Step, double Loss)> points, List<(long Step, double Loss)> evaluations)
        {
            (First, Last) = (points[0].Step, points[^1].Step);
            (Least, Most) = (double.MaxValue, double.MinValue);
            foreach ((_, double loss) in points.Concat(evaluations.Where(e => double.IsFinite(e.Loss))))
                (Least, Most) = (Math.Min(Least, loss), Math.Max(Most, loss));
        }

        public long First { get; }

        public long Last { get; }

        public double Least { get; }

        public double Most { get; }

        public double X(double step) => Margin + (Last == First ? 0 : (step - First) / (Last - First) * (Width - 2 * Margin));

        public double Y(double loss) => Height - Margin - (Most == Least ? 0 : (loss - Least) / (Most - Least) * (Height - 2 * Margin));
    }
}
