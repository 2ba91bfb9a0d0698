using System.Runtime.InteropServices;
using Legato.Runtime.Cpu;
using NUnit.Framework;

namespace Legato.Tests;

/// <summary>Matrix products against a scalar loop in the order that they promise: bits are compared where there is fused multiply-add.</summary>
[TestFixture]
public unsafe class MatrixProductTests
{
    private static readonly Team One = new(new TeamOptions(Threads: 1));
    private static readonly Team Two = new(new TeamOptions(Threads: 2, Pin: false));
    private static readonly Team Three = new(new TeamOptions(Threads: 3, Pin: false));

    [OneTimeTearDown]
    public void DisposeTeams()
    {
        One.Dispose();
        Two.Dispose();
        Three.Dispose();
    }

    private static readonly CpuIsa[] Isas = [CpuIsa.Avx512, CpuIsa.Avx2, CpuIsa.Portable];
    private static readonly MatrixElement[] Elements = [MatrixElement.Float32, MatrixElement.BFloat16, MatrixElement.Float16];

    [Test]
    public void SmallRandomSizes([ValueSource(nameof(Isas))] CpuIsa isa, [ValueSource(nameof(Elements))] MatrixElement element, [Range(1, 8)] int seed)
    {
        int[] sizes = [0, 1, 2, 3, 7, 8, 13, 14, 15, 16, 17, 31, 32, 33, 47, 64, 65, 100, 129, 385];
        var random = new Random(seed);
        for (int i = 0; i < 12; i++)
        {
            var problem = new Problem(random, sizes[random.Next(sizes.Length)], sizes[random.Next(sizes.Length)], sizes[random.Next(sizes.Length)], element);
            problem.CheckAll(isa);
        }
    }

    [TestCase(1, 50, 1000), TestCase(2, 333, 768), TestCase(5, 96, 770), TestCase(8, 257, 1155), TestCase(16, 100, 384), TestCase(1, 40, 800), TestCase(3, 301, 1200), TestCase(4, 1024, 769)]
    public void FewRows(int m, int n, int k)
    {
        foreach (CpuIsa isa in Isas)
            foreach (MatrixElement element in Elements)
                for (int seed = 0; seed < 4; seed++)
                    new Problem(new Random(seed), m, n, k, element).CheckAll(isa);
    }

    [TestCase(129, 300, 900), TestCase(300, 77, 1601), TestCase(1600, 130, 100), TestCase(100, 3111, 60), TestCase(97, 97, 3100)]
    public void LargeEnoughToBeShared(int m, int n, int k)
    {
        foreach (CpuIsa isa in Isas) new Problem(new Random(m), m, n, k, MatrixElement.Float32).CheckAll(isa);
        new Problem(new Random(n), m, n, k, MatrixElement.BFloat16).CheckAll(CpuIsaChoice.Best);
    }

    /// <summary>Weights stored [N,K] and enough columns that each worker packs its own, in panels of several depth blocks and of one.</summary>
    [TestCase(130, 600, 1300), TestCase(520, 801, 96), TestCase(97, 390, 3100)]
    public void RowsByWeights(int m, int n, int k)
    {
        foreach (CpuIsa isa in Isas) new Problem(new Random(m), m, n, k, MatrixElement.Float32, transposeB: true).CheckAll(isa);
        new Problem(new Random(n), m, n, k, MatrixElement.BFloat16, transposeB: true).CheckAll(CpuIsaChoice.Best);
    }

    /// <summary>Weights in panels: rows of one pass and of several, tiles that read panels and tiles that widen them.</summary>
    [Test]
    public void WeightsInPanels(
        [Values(1, 2, 3, 4, 5, 6, 7, 8, 9, 16, 23, 192, 230)] int m, [Values(32, 480, 501)] int n, [Values(2, 80, 384, 770, 1610)] int k,
        [Values(MatrixElement.Float32, MatrixElement.BFloat16)] MatrixElement element) =>
        new Problem(new Random(m + n + k), m, n, k, element, transposeA: false, transposeB: true, inPanels: true).CheckAll(CpuIsa.Avx512);

    [TestCase(7, 20, 30, 40), TestCase(3, 100, 110, 500), TestCase(5, 1, 64, 33)]
    public void Batches(int batch, int m, int n, int k)
    {
        foreach (CpuIsa isa in Isas) new Problem(new Random(m), m, n, k, MatrixElement.Float32, batch).CheckAll(isa);
    }

    /// <summary>A row's bits don't depend on how many rows stand around it.</summary>
    [Test]
    public void RowsAreBatchInvariant([Values(MatrixElement.Float32, MatrixElement.BFloat16)] MatrixElement element, [Values] bool transposed)
    {
        const int n = 200, k = 1000;
        var problem = new Problem(new Random(1), 130, n, k, element, transposeA: false, transposeB: transposed);
        float[] all = problem.Run(Two, CpuIsaChoice.Best);
        foreach (int rows in (int[])[1, 2, 3, 4, 5, 8, 9, 16, 17, 64, 97])
            Assert.That(problem.WithRows(rows).Run(Two, CpuIsaChoice.Best).AsSpan(0, rows * n).SequenceEqual(all.AsSpan(0, rows * n)), $"{rows} rows");
    }

    [Test]
    public void TooLittleScratchIsRefused()
    {
        var args = new MatrixProductArgs { M = 200, N = 200, K = 200, A = 0, ARowStride = 200, AColumnStride = 1, B = 0, BRowStride = 200, BColumnStride = 1, C = 0, CRowStride = 200 };
        Assert.That(() => One.Run(worker => MatrixProduct.Run(worker, args)), Throws.ArgumentException.With.Message.Contains("scratch"));
    }

    [TestCase("avx1024"), TestCase("AVX 2")]
    public void UnknownInstructionSetIsRefused(string name) =>
        Assert.That(() => CpuIsaChoice.Parse(name), Throws.TypeOf<Runtime.LegatoException>().With.Message.Contains("LEGATO_ISA"));

    /// <summary>Operands, the expected result and the variants to try: narrow A beside narrow B, accumulate, transposes, padded strides, teams.</summary>
    private sealed class Problem
    {
        private readonly int _m, _n, _k, _batch, _pad;
        private readonly bool _transposeA, _transposeB, _accumulate, _isNarrowA, _inPanels;
        private readonly MatrixElement _element;
        private readonly float[] _a, _bWide, _c;
        private readonly ushort[] _aNarrow, _bNarrow;

        public Problem(Random random, int m, int n, int k, MatrixElement element, int batch = 1, bool? transposeA = null, bool? transposeB = null, bool inPanels = false)
        {
            _inPanels = inPanels;
            (_m, _n, _k, _element, _batch) = (m, n, k, element, batch);
            (_transposeA, _transposeB) = (transposeA ?? random.Next(2) == 0, transposeB ?? random.Next(2) == 0);
            (_accumulate, _pad) = (random.Next(2) == 0, transposeA is null ? random.Next(3) : 0);
            _a = Values(random, ABatch);
            _c = Values(random, CBatch);
            _bWide = Values(random, BBatch);
            _bNarrow = Array.ConvertAll(_bWide, Narrow);
            if (element != MatrixElement.Float32) _bWide = Array.ConvertAll(_bNarrow, Wide);
            _isNarrowA = !inPanels && element != MatrixElement.Float32 && random.Next(2) == 0;
            _aNarrow = Array.ConvertAll(_a, Narrow);
            if (_isNarrowA) _a = Array.ConvertAll(_aNarrow, Wide);
        }

        private Problem(Problem of, int rows)
        {
            (_m, _n, _k, _element, _batch, _accumulate) = (rows, of._n, of._k, of._element, 1, of._accumulate);
            (_transposeA, _transposeB, _a, _bWide, _bNarrow, _c) = (of._transposeA, of._transposeB, of._a, of._bWide, of._bNarrow, of._c);
            (_isNarrowA, _aNarrow) = (of._isNarrowA, of._aNarrow);
        }

        private int ALeading => (_transposeA ? _m : _k) + _pad;
        private int BLeading => (_transposeB ? _k : _n) + _pad;
        private int CLeading => _n + _pad;
        private int ABatch => ALeading * (_transposeA ? _k : _m);
        private int BBatch => BLeading * (_transposeB ? _n : _k);
        private int CBatch => CLeading * _m;

        public Problem WithRows(int rows) => new(this, rows);

        public void CheckAll(CpuIsa isa)
        {
            if (!CpuIsaChoice.Supports(isa)) Assert.Ignore($"this processor has no {isa}");
            float[] expected = Expected();
            foreach (Team team in (Team[])[One, Two, Three])
            {
                float[] actual = Run(team, isa);
                for (int i = 0; i < expected.Length; i++)
                    if (isa == CpuIsa.Portable ? MathF.Abs(actual[i] - expected[i]) > 1e-4f * (1 + _k / 100f) : actual[i] != expected[i])
                        Assert.Fail($"{this} on {isa}, {team.Count} workers: C[{i / CLeading},{i % CLeading}] is {actual[i]:R}, not {expected[i]:R}");
            }
        }

        public float[] Run(Team team, CpuIsa isa)
        {
            float[] c = [.. _c];
            var seen = new int[c.Length];
            fixed (float* a = Padded(_a), bWide = Padded(_bWide), cPointer = Padded(c))
            fixed (ushort* aNarrow = Padded(_aNarrow), bNarrow = Padded(_bNarrow))
            {
                byte* panels = (byte*)NativeMemory.AlignedAlloc((nuint)_bWide.Length * sizeof(float) + 1, 64);
                if (_inPanels)
                {
                    int size = _element == MatrixElement.Float32 ? sizeof(float) : sizeof(ushort);
                    new WeightPanels(_k * size, _n).Write(panels, 0, new ReadOnlySpan<byte>(size == sizeof(float) ? bWide : bNarrow, _n * _k * size));
                }
                var args = new MatrixProductArgs
                {
                    M = _m,
                    N = _n,
                    K = _k,
                    Batch = _batch,
                    Accumulate = _accumulate,
                    A = _isNarrowA ? (nint)aNarrow : (nint)a,
                    AElement = _isNarrowA ? _element : MatrixElement.Float32,
                    ARowStride = _transposeA ? 1 : ALeading,
                    AColumnStride = _transposeA ? ALeading : 1,
                    ABatchStride = ABatch,
                    B = _inPanels ? (nint)panels : _element == MatrixElement.Float32 ? (nint)bWide : (nint)bNarrow,
                    BInPanels = _inPanels,
                    BElement = _element,
                    BRowStride = _transposeB ? 1 : BLeading,
                    BColumnStride = _transposeB ? BLeading : 1,
                    BBatchStride = BBatch,
                    C = (nint)cPointer,
                    CRowStride = CLeading,
                    CBatchStride = CBatch,
                    Epilogue = (batch, m0, m1, n0, n1) =>
                    {
                        for (int m = m0; m < m1; m++)
                            for (int n = n0; n < n1; n++)
                                Interlocked.Increment(ref seen[batch * CBatch + m * CLeading + n]);
                    },
                };
                long bytes = MatrixProduct.ScratchBytes(args, team.Count, isa);
                void* scratch = NativeMemory.AlignedAlloc((nuint)bytes + 64, 64);
                new Span<byte>(scratch, (int)bytes + 64).Fill(0xFF);
                MatrixProductArgs ready = args with { Scratch = (nint)scratch, ScratchBytes = bytes };
                team.Run(worker => MatrixProduct.Run(worker, ready, isa));
                for (int i = 0; i < 64; i++) Assert.That(((byte*)scratch)[bytes + i], Is.EqualTo(0xFF), "written beyond the scratch");
                NativeMemory.AlignedFree(scratch);
                NativeMemory.AlignedFree(panels);
            }
            for (int i = 0; i < c.Length; i++)
                Assert.That(seen[i], Is.EqualTo(i < CBatch * _batch && i % CLeading < _n ? 1 : 0), "times that the epilogue saw an element");
            return c;
        }

        public override string ToString() =>
            $"[{_m},{_k}]{(_transposeA ? "T" : "N")}·[{_k},{_n}]{(_transposeB ? "T" : "N")} {(_isNarrowA ? "both " : "")}{_element} ×{_batch}{(_inPanels ? " in panels" : "")}{(_accumulate ? " added" : "")} pad {_pad}";

        private float[] Expected()
        {
            float[] c = [.. _c];
            for (int batch = 0; batch < _batch; batch++)
                for (int m = 0; m < _m; m++)
                    for (int n = 0; n < _n; n++)
                    {
                        ref float target = ref c[batch * CBatch + m * CLeading + n];
                        if (!_accumulate) target = 0;
                        for (int k0 = 0; k0 < _k; k0 += MatrixProduct.DepthBlock)
                        {
                            float sum = 0;
                            for (int k = k0; k < Math.Min(_k, k0 + MatrixProduct.DepthBlock); k++)
                                sum = MathF.FusedMultiplyAdd(_a[batch * ABatch + At(m, k, ALeading, _transposeA)], _bWide[batch * BBatch + At(k, n, BLeading, _transposeB)], sum);
                            target += sum;
                        }
                    }
            return c;
        }

        private static int At(int row, int column, int leading, bool transposed) => transposed ? column * leading + row : row * leading + column;

        private float[] Values(Random random, int batchStride)
        {
            var values = new float[batchStride * _batch];
            for (int i = 0; i < values.Length; i++) values[i] = random.NextSingle() - 0.5f;
            return values;
        }

        private ushort Narrow(float value) => _element == MatrixElement.Float16
            ? BitConverter.HalfToUInt16Bits((Half)value)
            : (ushort)(BitConverter.SingleToUInt32Bits(value) >> 16);

        private float Wide(ushort value) => _element == MatrixElement.Float16
            ? (float)BitConverter.UInt16BitsToHalf(value)
            : BitConverter.UInt32BitsToSingle((uint)value << 16);

        private static T[] Padded<T>(T[] values) => values.Length == 0 ? new T[1] : values;
    }
}
