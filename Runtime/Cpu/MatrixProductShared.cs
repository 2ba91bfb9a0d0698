using System.Runtime.CompilerServices;

namespace Legato.Runtime.Cpu;

/// <summary>
/// The large product (after Goto and van de Geijn, "Anatomy of High-Performance Matrix Multiplication", 2008): A and B are
/// packed once into panels that all workers read. C, A and B are cut into super-blocks, so that scratch stays bounded;
/// each is a stage of packing and one of computing, with three buffers in turn. All items of all stages stand in one order
/// (pack 0, pack 1, compute 0, pack 2, compute 1, …) and are claimed one by one. An item waits only for items before it,
/// which are in somebody's hands already, and mostly for none of the stage just before: no barrier, and a worker that the
/// system delays holds nobody up for long.
/// </summary>
internal readonly unsafe struct MatrixProductShared
{
    private const int DepthSuper = 3 * MatrixProduct.DepthBlock;
    private const int RowSuper = 1536;
    private const int ColumnSuper = 3072;

    /// <summary>
    /// C is computed in blocks of at most so many rows and columns, of fewer rows where a tile's share of the L2 cache holds no
    /// more of A. Panels are as deep as a super-block, so that C is read and written as seldom as can be.
    /// </summary>
    private const int RowBlock = 126;
    private const int ColumnBlock = 384;

    /// <summary>Blocks have at least so many columns unless C has fewer, and are made narrower than that where a worker would have fewer than so many of them.</summary>
    private const int LeastColumnBlock = 64;
    private const int BlocksEach = 16;
    private const int Buffers = 3;
    private const int CounterStride = 16;

    private readonly MatrixProductArgs _args;
    private readonly MatrixProductTile _tile;
    private readonly int _rowSuper, _columnSuper, _depthSuper;
    private readonly int _rowSupers, _columnSupers, _depthSupers;
    private readonly int _rowBlock, _columnBlock;
    private readonly int _stages, _aBuffers, _bBuffers;

    public MatrixProductShared(in MatrixProductArgs args, int workers, MatrixProductTile tile)
    {
        (_args, _tile) = (args, tile);
        (_columnSuper, _columnSupers) = Cut(args.N, ColumnSuper, tile.Columns);
        (_depthSuper, _depthSupers) = Cut(args.K, DepthSuper, MatrixProduct.DepthBlock);
        // With two of them, no stage adds to what the stage before it computes.
        int halfRows = MatrixProduct.RoundUp(MatrixProduct.Divide(args.M, 2), tile.Rows);
        (_rowSuper, _rowSupers) = Cut(args.M, _depthSupers > 1 && args.M > RowBlock ? Math.Min(RowSuper, halfRows) : RowSuper, tile.Rows);
        _stages = args.BatchCount * _columnSupers * _depthSupers * _rowSupers;
        // A that is one super-block is packed once for each product of the batch; B once while only the rows change.
        bool isOneA = _rowSupers * _depthSupers == 1;
        _aBuffers = Math.Min(Buffers, isOneA ? args.BatchCount : _stages);
        _bBuffers = Math.Min(_rowSupers > 1 ? Buffers - 1 : Buffers, _stages / _rowSupers);
        int mostRows = Math.Min(RowBlock, tile.CacheBytes / (tile.AWidth * _depthSuper * sizeof(float)) * tile.Rows);
        (_rowBlock, int rowBlocks) = Cut(_rowSuper, mostRows, tile.Rows);
        // Of a product beyond all memory there are more blocks than an int counts.
        long blocks = Math.Max((long)rowBlocks * _stages, 1);
        int columnBlocks = (int)((workers * BlocksEach + blocks - 1) / blocks);
        int mostColumns = Math.Clamp(MatrixProduct.Divide(_columnSuper, columnBlocks), LeastColumnBlock, ColumnBlock);
        (_columnBlock, _) = Cut(_columnSuper, mostColumns, tile.Columns);
    }

    public long ScratchBytes => CounterBytes + (AFloats * _aBuffers + BFloats * _bBuffers) * sizeof(float);

    private bool IsOneA => _rowSupers * _depthSupers == 1;

    private long AFloats => (long)MatrixProduct.Divide(_rowSuper, _tile.Rows) * _tile.AWidth * _depthSuper;

    private long BFloats => (long)_columnSuper * _depthSuper;

    private long CounterBytes => (long)_stages * 2 * CounterStride * sizeof(int);

    private int* Packed => (int*)_args.Scratch;

    private int* Computed => (int*)_args.Scratch + _stages * CounterStride;

    public void Run(Worker worker)
    {
        if (worker.Index == 0) Unsafe.InitBlockUnaligned((void*)_args.Scratch, 0, (uint)CounterBytes);
        worker.Barrier();
        var progress = new Progress(worker);
        Pack(ref progress, 0);
        for (int stage = 0; stage < _stages; stage++)
        {
            if (stage + 1 < _stages) Pack(ref progress, stage + 1);
            Compute(ref progress, stage);
        }
    }

    private void Pack(ref Progress progress, int stage)
    {
        Super super = SuperOf(stage);
        int aItems = super.PacksA ? super.RowGroups(this) * super.DepthBlocks : 0;
        int bItems = super.PacksB ? super.ColumnGroups(this) * super.DepthBlocks : 0;
        while (progress.Take(aItems + bItems, out int item))
        {
            progress.AwaitStages(ref progress.ComputedStages, stage - Buffers + 1, Computed, this);
            if (item < aItems) PackA(super, item);
            else PackB(super, item - aItems);
            Interlocked.Increment(ref Packed[stage * CounterStride]);
        }
    }

    private void Compute(ref Progress progress, int stage)
    {
        Super super = SuperOf(stage);
        int rowBlocks = super.RowGroups(this), columnBlocks = super.ColumnGroups(this);
        while (progress.Take(rowBlocks * columnBlocks, out int item))
        {
            progress.AwaitStages(ref progress.PackedStages, stage + 1, Packed, this);
            // The same block of C at the depth before.
            if (super.K0 > 0) progress.AwaitStages(ref progress.ComputedStages, stage - _rowSupers + 1, Computed, this);
            ComputeBlock(super, item % rowBlocks, item / rowBlocks);
            Interlocked.Increment(ref Computed[stage * CounterStride]);
        }
    }

    private void PackA(in Super super, int item)
    {
        int groups = super.RowGroups(this), k = item / groups * MatrixProduct.DepthBlock, row = item % groups * _rowBlock;
        int depth = Math.Min(MatrixProduct.DepthBlock, super.Depth - k);
        int m0 = super.M0 + row, m1 = Math.Min(super.M0 + super.Rows, m0 + _rowBlock);
        _args.PackA(_tile, super.Batch, m0, m1, super.K0 + k, depth, APanel(super, row) + (nint)k * _tile.AWidth, (nint)super.Depth * _tile.AWidth);
    }

    private void PackB(in Super super, int item)
    {
        int groups = super.ColumnGroups(this), k = item / groups * MatrixProduct.DepthBlock, column = item % groups * _columnBlock;
        int depth = Math.Min(MatrixProduct.DepthBlock, super.Depth - k);
        int n0 = super.N0 + column, n1 = Math.Min(super.N0 + super.Columns, n0 + _columnBlock);
        _args.PackB(_tile, super.Batch, n0, n1, super.K0 + k, depth, BPanel(super, column) + (nint)k * _tile.Columns, (nint)super.Depth * _tile.Columns);
    }

    private void ComputeBlock(in Super super, int rowBlock, int columnBlock)
    {
        int row = rowBlock * _rowBlock, rows = Math.Min(_rowBlock, super.Rows - row);
        int column0 = columnBlock * _columnBlock, column1 = Math.Min(super.Columns, column0 + _columnBlock);
        int m0 = super.M0 + row;
        float* c = (float*)_args.C + super.Batch * _args.CBatchStride + m0 * _args.CRowStride + super.N0;
        float* a = APanel(super, row);
        nint aPanelStride = (nint)super.Depth * _tile.AWidth, bPanelFloats = (nint)super.Depth * _tile.Columns;
        bool add = _args.Accumulate || super.K0 > 0;
        for (int column = column0; column < column1; column += _tile.Columns)
        {
            float* b = BPanel(super, column);
            var next = column + _tile.Columns < column1 ? new MatrixProductNext((byte*)(b + bPanelFloats), bPanelFloats * sizeof(float)) : default;
            _tile.Strip(rows, Math.Min(_tile.Columns, column1 - column), super.Depth, a, aPanelStride, b, c + column, (nint)_args.CRowStride, add, next);
        }
        if (super.K0 + super.Depth == _args.K)
            _args.Epilogue?.Invoke(super.Batch, m0, m0 + rows, super.N0 + column0, super.N0 + column1);
    }

    /// <summary>Where the panel of A that begins at this row of the super-block lies.</summary>
    private float* APanel(in Super super, int row)
    {
        float* buffer = (float*)(_args.Scratch + (nint)CounterBytes) + super.ABuffer * AFloats;
        return buffer + (nint)(row / _tile.Rows) * _tile.AWidth * super.Depth;
    }

    private float* BPanel(in Super super, int column)
    {
        float* buffer = (float*)(_args.Scratch + (nint)CounterBytes) + _aBuffers * AFloats + super.BBuffer * BFloats;
        return buffer + (nint)column * super.Depth;
    }

    private Super SuperOf(int stage)
    {
        int row = stage % _rowSupers, rest = stage / _rowSupers;
        int depth = rest % _depthSupers, column = rest / _depthSupers % _columnSupers;
        int batch = rest / _depthSupers / _columnSupers;
        return new Super
        {
            Batch = batch,
            M0 = row * _rowSuper,
            Rows = Math.Min(_rowSuper, _args.M - row * _rowSuper),
            N0 = column * _columnSuper,
            Columns = Math.Min(_columnSuper, _args.N - column * _columnSuper),
            K0 = depth * _depthSuper,
            Depth = Math.Min(_depthSuper, _args.K - depth * _depthSuper),
            // B stays packed while only the rows change, A stays packed over a whole product that has one super-block of it.
            PacksA = !IsOneA || column == 0,
            ABuffer = (IsOneA ? batch : stage) % _aBuffers,
            PacksB = row == 0,
            BBuffer = rest % _bBuffers,
        };
    }

    private int ItemsOf(int stage, bool packing)
    {
        Super super = SuperOf(stage);
        int rows = super.RowGroups(this), columns = super.ColumnGroups(this);
        return packing
            ? super.DepthBlocks * ((super.PacksA ? rows : 0) + (super.PacksB ? columns : 0))
            : rows * columns;
    }

    /// <summary>Cuts a size into equal parts of at most about <paramref name="part"/>, each a multiple of <paramref name="unit"/>.</summary>
    private static (int Part, int Parts) Cut(int size, int part, int unit)
    {
        int most = Math.Max(unit, part / unit * unit);
        int equal = MatrixProduct.RoundUp(MatrixProduct.Divide(size, MatrixProduct.Divide(size, most)), unit);
        return (equal, MatrixProduct.Divide(size, equal));
    }

    /// <summary>One super-block: what it covers, and which of the buffers of A and of B hold its panels.</summary>
    private readonly struct Super
    {
        public int Batch { get; init; }
        public int M0 { get; init; }
        public int Rows { get; init; }
        public int N0 { get; init; }
        public int Columns { get; init; }
        public int K0 { get; init; }
        public int Depth { get; init; }
        public bool PacksA { get; init; }
        public bool PacksB { get; init; }
        public int ABuffer { get; init; }
        public int BBuffer { get; init; }

        public int DepthBlocks => MatrixProduct.Divide(Depth, MatrixProduct.DepthBlock);

        public int RowGroups(in MatrixProductShared product) => MatrixProduct.Divide(Rows, product._rowBlock);

        public int ColumnGroups(in MatrixProductShared product) => MatrixProduct.Divide(Columns, product._columnBlock);
    }

    /// <summary>One worker's walk along the order of all items.</summary>
    private struct Progress(Worker worker)
    {
        private int _claimed = worker.Claim();
        private int _first;
        private bool _taken;

        /// <summary>How many stages this worker knows to be wholly packed, and wholly computed.</summary>
        public int PackedStages, ComputedStages;

        /// <summary>The item of the present stage that this worker has claimed; false when its claim lies beyond the stage.</summary>
        public bool Take(int items, out int item)
        {
            if (_taken) _claimed = worker.Claim();
            item = _claimed - _first;
            _taken = item < items;
            if (!_taken) _first += items;
            return _taken;
        }

        public void AwaitStages(ref int known, int stages, int* counters, in MatrixProductShared product)
        {
            for (; known < stages; known++)
                worker.AwaitAtLeast(ref counters[known * CounterStride], product.ItemsOf(known, counters == product.Packed));
        }
    }
}
