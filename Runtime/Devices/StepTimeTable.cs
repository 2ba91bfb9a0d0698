using System.Globalization;
using System.Text;

namespace Legato.Runtime.Devices;

/// <summary>Measured step times as a table for people.</summary>
public static class StepTimeTable
{
    public static string Format(string title, IReadOnlyList<StepTime> times)
    {
        double total = times.Sum(t => t.Seconds);
        int width = Math.Max(title.Length, times.Select(t => t.Name.Length).DefaultIfEmpty().Max());
        var text = new StringBuilder();
        text.Append(CultureInfo.InvariantCulture, $"{title.PadRight(width)}  {"calls",7}  {"ms",10}  {"share",6}  {"GFLOP/s",8}  {"GB/s",7}\n");
        foreach (StepTime time in times)
            text.Append(CultureInfo.InvariantCulture,
                $"{time.Name.PadRight(width)}  {time.Executions,7}  {time.Seconds * 1e3,10:F2}  {Ratio(time.Seconds, total),6:P1}  {Ratio(time.Flops, time.Seconds) / 1e9,8:F1}  {Ratio(time.Bytes, time.Seconds) / 1e9,7:F1}\n");
        return text.Append(CultureInfo.InvariantCulture, $"{"total".PadRight(width)}  {"",7}  {total * 1e3,10:F2}").ToString();
    }

    private static double Ratio(double x, double y) => y > 0 ? x / y : 0;
}
