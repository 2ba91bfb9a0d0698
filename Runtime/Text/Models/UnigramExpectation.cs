namespace Legato.Runtime.Text.Models;

/// <summary>
/// How often each token is expected in texts under a unigram model: over all segmentations of a text, each as often as it is
/// probable (forward-backward, Baum et al. 1970).
/// </summary>
/// <remarks>
/// Probabilities are kept as they are, times a power of two for every few positions: exact, and without a logarithm an edge.
/// Every segmentation has a position in a window as long as the longest token, so what counts there is never far below its largest.
/// </remarks>
internal sealed class UnigramExpectation
{
    private const int Interval = 4;

    // From there a double has room for the probability of a window's rarest characters.
    private const int LowestExponent = -64;

    private readonly UnigramModel model;
    private readonly double[] probabilities;
    private readonly int window;
    private readonly List<(int End, int Id, double Score)> candidates = [];
    private readonly List<(int End, int Id, double Probability)> edges = [];
    private int[] firstEdge = [];
    private double[] forward = [], backward = [];
    private int[] exponents = [];

    /// <param name="longest">The longest token, in UTF-16 code units.</param>
    public UnigramExpectation(UnigramModel model, int longest)
    {
        this.model = model;
        // An unknown character may be two units.
        window = Math.Max(2, longest);
        probabilities = new double[model.Vocabulary.Size];
        for (int id = 0; id < probabilities.Length; id++)
            probabilities[id] = Math.Exp(model.ScoreOf(id));
    }

    /// <summary>Adds what is expected in a text.</summary>
    /// <param name="weight">How often the text occurs.</param>
    /// <param name="expected">Sums by token id.</param>
    public void Add(ReadOnlySpan<char> text, double weight, double[] expected)
    {
        Reserve(text.Length);
        int exponent = Forward(text);
        Backward(text.Length, weight, exponent, expected);
    }

    private void Reserve(int length)
    {
        // Past the end a window of zeros.
        int size = length + 1 + window;
        if (forward.Length < size)
        {
            (forward, backward) = (new double[size], new double[size]);
            (firstEdge, exponents) = (new int[length + 1], new int[length / Interval + 1]);
        }
        forward.AsSpan(0, size).Clear();
        backward.AsSpan(0, size).Clear();
        edges.Clear();
    }

    /// <summary>The probability of reaching each position; gives the exponent at the end.</summary>
    private int Forward(ReadOnlySpan<char> text)
    {
        forward[0] = 1;
        int exponent = 0;
        for (int start = 0; start <= text.Length; start++)
        {
            if (start % Interval == 0)
            {
                exponent += Rescale(forward.AsSpan(start, window));
                exponents[start / Interval] = exponent;
            }
            if (start == text.Length)
                break;
            firstEdge[start] = edges.Count;
            if (forward[start] == 0)
                continue;
            candidates.Clear();
            model.FindCandidates(text, start, candidates);
            foreach (var (end, id, score) in candidates)
            {
                double probability = id < 0 ? Math.Exp(score) : probabilities[id];
                edges.Add((end, id, probability));
                forward[end] += forward[start] * probability;
            }
        }
        firstEdge[text.Length] = edges.Count;
        return exponent;
    }

    /// <summary>The probability of the rest from each position on, and with both what is expected of each edge.</summary>
    private void Backward(int length, double weight, int exponentAtEnd, double[] expected)
    {
        backward[length] = 1;
        int exponent = 0;
        // Before times after times both factors: each alone, their product may be beyond what a double holds.
        double before = 0, after = 0;
        for (int start = length - 1; start >= 0; start--)
        {
            if (start == length - 1 || (start + 1) % Interval == 0)
            {
                exponent += Rescale(backward.AsSpan(start + 1, window));
                int both = exponents[start / Interval] + exponent - exponentAtEnd;
                before = Math.ScaleB(weight / forward[length], both / 2);
                after = Math.ScaleB(1, both - both / 2);
            }
            double arriving = forward[start] * before, sum = 0;
            for (int edge = firstEdge[start]; edge < firstEdge[start + 1]; edge++)
            {
                var (end, id, probability) = edges[edge];
                double rest = probability * backward[end];
                sum += rest;
                if (id >= 0)
                    expected[id] += arriving * (rest * after);
            }
            backward[start] = sum;
        }
    }

    /// <summary>Brings values that have become small back to about 1; gives the power of two that they were divided by.</summary>
    private static int Rescale(Span<double> values)
    {
        double largest = 0;
        foreach (double value in values)
            largest = Math.Max(largest, value);
        if (largest == 0 || Math.ILogB(largest) is var exponent && exponent > LowestExponent)
            return 0;
        for (int i = 0; i < values.Length; i++)
            values[i] = Math.ScaleB(values[i], -exponent);
        return exponent;
    }
}
