namespace Legato.Runtime.Text.Models;

/// <summary>All segmentations of a text under a unigram model, to draw from.</summary>
internal sealed class UnigramLattice
{
    private readonly List<Edge> edges = [];
    private readonly List<int>[] edgesTo;
    private readonly double[] forward;

    private readonly record struct Edge(int Start, int End, int Id, double Score);

    private UnigramLattice(int length)
    {
        edgesTo = new List<int>[length + 1];
        for (int i = 0; i <= length; i++)
            edgesTo[i] = [];
        forward = new double[length + 1];
    }

    /// <param name="sharpness">Scores are multiplied by this.</param>
    public static UnigramLattice Build(UnigramModel model, ReadOnlySpan<char> text, double sharpness)
    {
        var lattice = new UnigramLattice(text.Length);
        var candidates = new List<(int End, int Id, double Score)>();
        Array.Fill(lattice.forward, double.NegativeInfinity);
        lattice.forward[0] = 0;
        for (int start = 0; start < text.Length; start++)
        {
            if (double.IsNegativeInfinity(lattice.forward[start]))
                continue;
            candidates.Clear();
            model.FindCandidates(text, start, candidates);
            foreach (var (end, id, score) in candidates)
            {
                lattice.edgesTo[end].Add(lattice.edges.Count);
                lattice.edges.Add(new Edge(start, end, id, score * sharpness));
                lattice.forward[end] = LogSum(lattice.forward[end], lattice.forward[start] + score * sharpness);
            }
        }
        return lattice;
    }

    /// <summary>One segmentation, drawn by probability.</summary>
    public List<(int Start, int End, int Id)> Sample(Random random)
    {
        var path = new List<(int, int, int)>();
        for (int at = forward.Length - 1; at > 0;)
        {
            double left = random.NextDouble();
            var chosen = edges[edgesTo[at][^1]];
            foreach (int index in edgesTo[at])
            {
                left -= Math.Exp(forward[edges[index].Start] + edges[index].Score - forward[at]);
                if (left >= 0)
                    continue;
                chosen = edges[index];
                break;
            }
            path.Add((chosen.Start, chosen.End, chosen.Id));
            at = chosen.Start;
        }
        path.Reverse();
        return path;
    }

    private static double LogSum(double left, double right)
    {
        double larger = Math.Max(left, right), smaller = Math.Min(left, right);
        return double.IsNegativeInfinity(smaller) ? larger : larger + Math.Log(1 + Math.Exp(smaller - larger));
    }
}
