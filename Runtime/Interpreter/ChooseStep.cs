using Legato.Runtime.Plans;

namespace Legato.Runtime.Interpreter;

/// <summary>Chooses tokens by sorting the candidates and adding up their weights.</summary>
internal static class ChooseStep
{
    public static void Execute(InterpreterExecutable executable, Step.Choose step)
    {
        ElementView logits = executable.View(step.Logits), settings = executable.View(step.Settings), streams = executable.View(step.Streams);
        ElementView places = executable.View(step.Places), tokens = executable.View(step.Tokens);
        long rows = executable.Size(step.Rows);
        int width = checked((int)executable.Size(step.Width));
        for (long row = 0; row < rows; row++)
        {
            float[] values = [.. Enumerable.Range(0, width).Select(i => (float)logits.Float(row * width + i))];
            uint word = Philox.Word((uint)streams.Integer(2 * row), ((ulong)(uint)streams.Integer(2 * row + 1) << 32) + (uint)places.Integer(row));
            tokens.Store(row, (long)Choose(values, (float)settings.Float(0), (int)settings.Float(1), (float)settings.Float(2), word));
        }
    }

    private static int Choose(float[] logits, float temperature, int top, float share, uint word)
    {
        float largest = logits.Max();
        if (logits.Any(float.IsNaN) || !float.IsFinite(largest))
            return Step.Choose.None;
        if (temperature == 0 || top == 1)
            return Array.IndexOf(logits, largest);
        (int Token, uint Distance)[] candidates = [.. logits
            .Select((logit, token) => (token, TokenWeight.Distance(logit, largest, temperature)))
            .Where(c => c.Item2 != TokenWeight.Never).OrderBy(c => c.Item2).ThenBy(c => c.token)];
        if (top > 0)
            candidates = [.. candidates.Take(top)];
        ulong[] ends = new ulong[candidates.Length];
        ulong sum = 0;
        for (int i = 0; i < ends.Length; i++)
            ends[i] = sum += TokenWeight.Of(candidates[i].Distance);
        if (share < 1)
            sum = ends.First(end => end > TokenWeight.Reaching(sum, share));
        ulong target = TokenWeight.Part(sum, word);
        return candidates[Array.FindIndex(ends, end => end > target)].Token;
    }
}
