using System.Runtime.CompilerServices;

namespace Legato.Runtime.Cpu;

/// <summary>A skinny product whose weights are stored [N,K].</summary>
internal static unsafe class MatrixProductSkinnyColumns
{
    private const int Lanes = MatrixProductSkinny.Lanes;

    /// <summary>What is fetched ahead at most: what is being read fits the L2 cache beside it.</summary>
    private const int MostAhead = 512 << 10;

    /// <summary>Bytes from what is asked for now to what was asked for the time before, of float32; else a stretch of 16 columns. As measured on Zen 4.</summary>
    private const int FloatStep = 8 << 10;

    /// <summary>The same where A has one row. As measured on Zen 5.</summary>
    private const int FloatRowStep = 2 << 10, RowStep = 8 << 10;

    /// <summary>Where more is in the cache than the next stretch, this part less is fetched than is read: memory stays busy while the product catches up.</summary>
    private const int LeadPart = 4;

    /// <param name="weights">Those columns, and what is read after them.</param>
    /// <returns>How many bytes from the next column on are in the cache.</returns>
    public static nint Compute(in MatrixProductArgs args, int n0, int n1, WeightOrder weights)
    {
        int rows = MatrixProduct.Divide(args.M, MatrixProduct.Divide(args.M, MatrixProductColumns512.MaxRows));
        int together = Together(args);
        nint stretch = Stretch(args), kept = together * stretch, lead = weights.Lead;
        for (int n = n0; n < n1; n += Lanes)
        {
            byte* b = Column(args, n);
            if (args.M == 1 && lead <= kept && Times(args, b, n1 - n, weights, together) is > 1 and int times)
            {
                Row(args, m: 0, times, b, Fetch(args, b, weights, kept, together, catchesUp: false), (float*)args.C + n);
                n += (times - 1) * Lanes;
                lead = kept;
                continue;
            }
            ColumnFetch fetch = Fetch(args, b, weights, Math.Max(stretch, lead), 1, catchesUp: lead > kept);
            lead = lead > kept ? Math.Max(kept, lead - stretch / LeadPart) : Math.Max(stretch, lead);
            for (int m = 0; m < args.M; m += rows)
                Columns(args, m, Math.Min(rows, args.M - m), n, Math.Min(Lanes, n1 - n), b, fetch);
        }
        return lead;
    }

    /// <summary>How many stretches one row's product fetches as one.</summary>
    private static int Together(in MatrixProductArgs args) => args.M == 1 && StretchFetch.InStreams ? FetchInStreams.Stretches(Stretch(args)) : 1;

    /// <summary>How many times 16 columns lie, with all that is fetched meanwhile, in the piece at hand.</summary>
    private static int Times(in MatrixProductArgs args, byte* b, int columns, in WeightOrder weights, int together)
    {
        nint stretch = Stretch(args), ahead = together * stretch + RowStep;
        return (int)Math.Min(columns / Lanes, (weights.Left((nint)b) - ahead) / stretch) / together * together;
    }

    private static void Row(in MatrixProductArgs args, int m, int times, byte* b, in ColumnFetch fetch, float* c)
    {
        bool isFloat = args.BElement == MatrixElement.Float32;
        if (isFloat && StretchFetch.InStreams) Row<ColumnWordsFloat32, FetchInStreams>(args, m, times, b, fetch, c);
        else if (isFloat) Row<ColumnWordsFloat32, FetchFrontToBack>(args, m, times, b, fetch, c);
        else if (StretchFetch.InStreams) Row<ColumnWordsBFloat16, FetchFarInStreams>(args, m, times, b, fetch, c);
        else Row<ColumnWordsBFloat16, FetchFrontToBack>(args, m, times, b, fetch, c);
    }

    private static void Row<TElement, TFetch>(in MatrixProductArgs args, int m, int times, byte* b, in ColumnFetch fetch, float* c)
        where TElement : struct, IColumnWords where TFetch : struct, IStretchFetch
    {
        nint bStride = (nint)args.BColumnStride * args.BElementSize;
        float* a = (float*)args.A + m * args.ARowStride;
        MatrixProductRowColumns512.Products<TElement, TFetch>(times, args.K, a, b, bStride, fetch, c, args.Accumulate);
    }

    /// <summary>Where the 16 columns from n on begin; at the end of B the last 16.</summary>
    private static byte* Column(in MatrixProductArgs args, int n) => (byte*)args.B + Math.Min(n, args.N - Lanes) * args.BColumnStride * args.BElementSize;

    /// <summary>
    /// What to fetch while the 16 columns at b are multiplied: what follows them, front to back, which is how memory is fastest, or, of
    /// one row, as <see cref="FetchInStreams"/> says.
    /// </summary>
    /// <param name="lead">How many bytes from there on are in the cache, or will be without this.</param>
    /// <param name="together">How many stretches are fetched as one.</param>
    /// <param name="catchesUp">Whether less is fetched than is read.</param>
    private static ColumnFetch Fetch(in MatrixProductArgs args, byte* b, in WeightOrder weights, nint lead, int together, bool catchesUp)
    {
        const nint lines = MatrixProductColumns512.Columns * MatrixProductColumns512.Line;
        bool isFloat = args.BElement == MatrixElement.Float32;
        nint stretch = Stretch(args), step = args.M == 1 ? isFloat ? FloatRowStep : RowStep : isFloat ? FloatStep : stretch;
        byte* Ahead(int steps, in WeightOrder order) => stretch + steps * step <= MostAhead ? (byte*)order.Beyond((nint)b, lead + steps * step) : b;
        nint read = catchesUp ? lines - lines / LeadPart : lines;
        byte* first = Ahead(0, weights);
        if (args.M == 1 && StretchFetch.InStreams)
            return new(first, first + together * stretch / FetchInStreams.Streams * read / lines, first, first, read, together);
        return new(first, Ahead(1, weights), Ahead(2, weights), Ahead(3, weights), read);
    }

    /// <summary>Bytes of 16 columns.</summary>
    private static nint Stretch(in MatrixProductArgs args) => (nint)args.BColumnStride * args.BElementSize * Lanes;

    /// <summary>16 columns, of which only the new ones are stored.</summary>
    [SkipLocalsInit]
    private static void Columns(in MatrixProductArgs args, int m, int rows, int n, int columns, byte* b, in ColumnFetch fetch)
    {
        float* edge = stackalloc float[MatrixProductColumns512.MaxRows * Lanes];
        float* c = (float*)args.C + m * args.CRowStride + n;
        if (columns == Lanes)
        {
            Sixteen(args, m, rows, b, fetch, c, args.CRowStride);
            return;
        }
        int old = n - Math.Min(n, args.N - Lanes);
        new Span<float>(edge, rows * Lanes).Clear();
        if (args.Accumulate) Copy(c, args.CRowStride, edge + old, Lanes, rows, columns);
        Sixteen(args, m, rows, b, fetch, edge, Lanes);
        Copy(edge + old, Lanes, c, args.CRowStride, rows, columns);
    }

    private static void Sixteen(in MatrixProductArgs args, int m, int rows, byte* b, in ColumnFetch fetch, float* c, long cRowStride)
    {
        if (rows == 1)
        {
            Row(args, m, 1, b, fetch, c);
            return;
        }
        var kernel = (args.BElement == MatrixElement.Float32 ? Kernels.Float32 : Kernels.BFloat16)[rows - 2];
        float* a = (float*)args.A + m * args.ARowStride;
        kernel(args.K, a, (nint)args.ARowStride, b, (nint)args.BColumnStride * args.BElementSize, fetch, c, (nint)cRowStride, args.Accumulate);
    }

    /// <summary>Rows of so many columns.</summary>
    internal static void Copy(float* from, long fromStride, float* to, long toStride, int rows, int columns)
    {
        for (int row = 0; row < rows; row++)
            new Span<float>(from + row * fromStride, columns).CopyTo(new Span<float>(to + row * toStride, columns));
    }

    private static class Kernels
    {
        public static readonly delegate*<nint, float*, nint, byte*, nint, in ColumnFetch, float*, nint, bool, void>[]
            Float32 = MatrixProductColumns512.Kernels<ColumnWordsFloat32>(), BFloat16 = MatrixProductColumns512.Kernels<ColumnWordsBFloat16>();
    }
}
