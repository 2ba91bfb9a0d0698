using System.Runtime.CompilerServices;
using Legato.Runtime.Plans;

namespace Legato.Runtime.Cpu;

/// <summary>
/// A forward step of one query a batch row. The keys are cut into ranges of fixed length, each a work item that serves all
/// query heads of one key head; the ranges' results are combined in order of position (Dao et al. 2023, Flash-Decoding).
/// </summary>
internal readonly unsafe struct AttentionDecode<F, I, L>
    where F : struct
    where I : struct
    where L : struct, ILanes<F, I>
{
    private const int RangeKeys = 512, TileKeys = 128;

    /// <summary>What a worker reads of keys and values ahead of the step: a part of the L2 cache.</summary>
    private const long AheadBytes = 256 << 10;

    private readonly int heads, headStride, valueStride, ranges;

    /// <summary>For each (batch row, head, range): the weighted sum of values, then the largest score and the denominator.</summary>
    private readonly float* partial;

    private readonly float* queries, keys, values, scores;

    public AttentionDecode(in AttentionArgs args, Worker worker)
        : this(args, worker.Index, out _)
    {
    }

    private AttentionDecode(in AttentionArgs args, int worker, out AttentionScratch scratch)
    {
        heads = args.Group + args.Group % 2;
        headStride = AttentionRows.Stride(args.HeadSize);
        valueStride = AttentionRows.Stride(args.ValueSize);
        ranges = (args.KeyLength + RangeKeys - 1) / RangeKeys;
        scratch = new AttentionScratch(args.Scratch);
        partial = scratch.Floats((long)args.Batch * args.KeyHeads * heads * ranges * PartialStride);
        for (int i = 0; i <= worker; i++)
        {
            queries = scratch.Floats((long)heads * headStride);
            keys = scratch.Floats((long)TileKeys * headStride);
            values = scratch.Floats((long)TileKeys * valueStride);
            scores = scratch.Floats((long)heads * TileKeys);
        }
    }

    private int PartialStride => valueStride + AttentionRows.Padding;

    public static long ScratchBytes(in AttentionArgs args, int workers)
    {
        _ = new AttentionDecode<F, I, L>(args, workers - 1, out AttentionScratch scratch);
        return scratch.Bytes - args.Scratch;
    }

    /// <summary>Each worker reads the keys and values of its own work items.</summary>
    public static void ReadAhead(Worker worker, in AttentionArgs args)
    {
        int used = UsedRanges(args), items = args.Batch * args.KeyHeads * used, end = Start(worker.Index + 1, worker.Count, items);
        long keyBytes = args.HeadSize * args.Key.Type.Size() + args.ValueSize * args.Value.Type.Size(), left = AheadBytes / keyBytes;
        for (int item = Start(worker.Index, worker.Count, items); item < end && left > 0; item++)
        {
            int range = item % used, head = item / used % args.KeyHeads, batch = item / used / args.KeyHeads;
            // The newest key may not be there yet, which is no harm; who comes late may find more keys than there is room for.
            IntegerRange visible = args.Program.Tiles.VisibleKeys(Against(
                args, batch, head, (long)range * RangeKeys, Math.Min(Math.Min((range + 1L) * RangeKeys, args.KeysOf(batch)), args.KeyLength) - 1));
            int count = (int)Math.Min(visible.High - visible.Low + 1, left);
            if (count <= 0)
                continue;
            _ = AttentionRows.ReadAhead(args.Key, batch, visible.Low, head, count, args.HeadSize);
            _ = AttentionRows.ReadAhead(args.Value, batch, visible.Low, head, count, args.ValueSize);
            left -= count;
        }
    }

    /// <summary>Who ends the last range combines them all: that takes less time than to wait for one another.</summary>
    public void Run(Worker worker, in AttentionArgs args, nint* operands)
    {
        // Agreed on, as who comes late may find longer keys.
        int used = worker.Agree(UsedRanges(args)), items = args.Batch * args.KeyHeads * used;
        if (items == 0 && worker.TryOwn())
        {
            CombineAll(args, used);
            worker.Complete(0, 0);
        }
        while (TryTake(worker, items, out int item))
        {
            int range = item % used, head = item / used % args.KeyHeads, batch = item / used / args.KeyHeads;
            RunRange(args, batch, head, range, operands);
            if (used == 1)
            {
                for (int i = 0; i < args.Group; i++)
                    Combine(args, batch, head * args.Group + i, used);
                worker.Complete(1, items);
            }
            else if (worker.End() == items)
            {
                CombineAll(args, used);
                worker.Complete(items, items);
            }
        }
    }

    /// <summary>
    /// One of the worker's own items, whose heads it has computed and whose keys and values it has read ahead, else one that another has
    /// left: from the cache of another core they come slowly.
    /// </summary>
    private static bool TryTake(Worker worker, int items, out int item)
    {
        if (items > StepProgress.MostItems)
            return worker.TryClaim(items, out item);
        for (int i = 0; i < worker.Count; i++)
        {
            int part = (worker.Index + i) % worker.Count, start = Start(part, worker.Count, items), count = Start(part + 1, worker.Count, items) - start;
            bool isTaken = i == 0
                ? worker.Progress.TryTake(worker.RunNumber, member: 0, part, count, least: 1, most: 1, out item, out _)
                : worker.Progress.TryTakeLast(worker.RunNumber, member: 0, part, count, most: 1, out item, out _);
            item += start;
            if (isTaken)
                return true;
        }
        item = 0;
        return false;
    }

    /// <summary>Where a worker's own items begin, and those of the one before end.</summary>
    private static int Start(int worker, int workers, int items) => (int)((long)items * worker / workers);

    private void CombineAll(in AttentionArgs args, int used)
    {
        for (int row = 0; row < args.Batch * args.Heads; row++)
            Combine(args, row / args.Heads, row % args.Heads, used);
    }

    private static int UsedRanges(in AttentionArgs args)
    {
        long longest = 0;
        for (int batch = 0; batch < args.Batch; batch++)
            longest = Math.Max(longest, args.KeysOf(batch));
        return (int)((longest + RangeKeys - 1) / RangeKeys);
    }

    private float* Partial(in AttentionArgs args, int batch, int keyHead, int head, int range) =>
        partial + ((((long)batch * args.KeyHeads + keyHead) * ranges + range) * heads + head) * PartialStride;

    private static MaskTile Against(in AttentionArgs args, int batch, int keyHead, long low, long high) => new(
        IntegerRange.Of(batch), new((long)keyHead * args.Group, (keyHead + 1L) * args.Group - 1),
        IntegerRange.Of(args.PastOf(batch)), new(low, high));

    private void RunRange(in AttentionArgs args, int batch, int keyHead, int range, nint* operands)
    {
        float* first = Partial(args, batch, keyHead, 0, range);
        for (int head = 0; head < heads; head++)
        {
            float* result = first + head * PartialStride;
            AttentionRows.Clear(result, PartialStride);
            result[valueStride] = float.NegativeInfinity;
        }
        long end = Math.Min((range + 1L) * RangeKeys, args.KeysOf(batch)) - 1;
        IntegerRange visible = args.Program.Tiles.VisibleKeys(Against(args, batch, keyHead, (long)range * RangeKeys, end));
        if (visible.Low > visible.High)
            return;
        LoadQueries(args, batch, keyHead);
        for (long low = visible.Low; low <= visible.High; low += TileKeys)
        {
            long high = Math.Min(low + TileKeys - 1, visible.High);
            TileKind kind = args.Program.Tiles.Classify(Against(args, batch, keyHead, low, high));
            if (kind != TileKind.Empty)
                AddTile(args, batch, keyHead, kind, low, high, first, operands);
        }
    }

    private void LoadQueries(in AttentionArgs args, int batch, int keyHead)
    {
        AttentionRows.Clear(queries, (long)heads * headStride);
        for (int head = 0; head < args.Group; head++)
        {
            float* row = queries + (long)head * headStride;
            AttentionRows.Load(args.Query, batch, 0, keyHead * args.Group + head, 1, args.HeadSize, row, headStride);
            AttentionRows.Scale(row, args.Program.Scale, args.HeadSize, row);
        }
    }

    private void AddTile(in AttentionArgs args, int batch, int keyHead, TileKind kind, long low, long high, float* results, nint* operands)
    {
        int count = (int)(high - low + 1);
        float* tile = Tile(args.Key, batch, keyHead, low, count, args.HeadSize, keys, headStride, out nint stride);
        for (int head = 0; head < heads; head += 2)
            Dots(queries + (long)head * headStride, tile, stride, count, AttentionRows.Pad(args.HeadSize), scores + head * TileKeys);
        long position = args.PastOf(batch);
        for (int head = 0; head < args.Group; head++)
            args.Program.ByKeys!.Apply(
                kind, operands, scores + head * TileKeys, null, new(batch, keyHead * args.Group + head, position, position, low, high), TileKeys);
        for (int head = 0; head < heads; head++)
            Exponentiate(scores + head * TileKeys, count, results + (long)head * PartialStride, AttentionRows.Pad(args.ValueSize));
        tile = Tile(args.Value, batch, keyHead, low, count, args.ValueSize, values, valueStride, out stride);
        for (int head = 0; head < heads; head += 2)
            AddValues(scores + head * TileKeys, tile, stride, count, AttentionRows.Pad(args.ValueSize), results + (long)head * PartialStride);
    }

    /// <summary>The rows where they lie if their elements are whole vectors of float32, else a copy that is.</summary>
    private static float* Tile(
        in HeadMemory source, int batch, int head, long first, int count, int size, float* copy, int copyStride, out nint stride)
    {
        if (AttentionRows.LieReady(source, size))
        {
            stride = (nint)source.PositionStride;
            return source.Floats(batch, first, head);
        }
        AttentionRows.Load(source, batch, first, head, count, size, copy, copyStride);
        stride = copyStride;
        return copy;
    }

    /// <summary>scores[r, k] = queries[r] · keys[k] for two rows.</summary>
    private void Dots(float* query, float* key, nint stride, int count, int size, float* target)
    {
        for (int k = 0; k < count; k += 4)
        {
            // Beyond the last key its neighbour is computed again; nothing reads the result.
            float* k0 = key + k * stride;
            float* k1 = key + Math.Min(k + 1, count - 1) * stride;
            float* k2 = key + Math.Min(k + 2, count - 1) * stride;
            float* k3 = key + Math.Min(k + 3, count - 1) * stride;
            F a0 = default, a1 = default, a2 = default, a3 = default, b0 = default, b1 = default, b2 = default, b3 = default;
            for (int d = 0; d < size; d += L.Count)
            {
                F qa = Load(query + d), qb = Load(query + headStride + d);
                F x = Load(k0 + d);
                (a0, b0) = (L.MultiplyAdd(qa, x, a0), L.MultiplyAdd(qb, x, b0));
                x = Load(k1 + d);
                (a1, b1) = (L.MultiplyAdd(qa, x, a1), L.MultiplyAdd(qb, x, b1));
                x = Load(k2 + d);
                (a2, b2) = (L.MultiplyAdd(qa, x, a2), L.MultiplyAdd(qb, x, b2));
                x = Load(k3 + d);
                (a3, b3) = (L.MultiplyAdd(qa, x, a3), L.MultiplyAdd(qb, x, b3));
            }
            (target[k], target[k + 1], target[k + 2], target[k + 3]) = (L.Sum(a0), L.Sum(a1), L.Sum(a2), L.Sum(a3));
            float* second = target + TileKeys + k;
            (second[0], second[1], second[2], second[3]) = (L.Sum(b0), L.Sum(b1), L.Sum(b2), L.Sum(b3));
        }
    }

    /// <summary>Turns a row of scores into exp(score - largest), and takes them into the running result.</summary>
    private void Exponentiate(float* row, int count, float* result, int size)
    {
        int padded = (count + L.Count - 1) / L.Count * L.Count;
        for (int k = count; k < padded; k++)
            row[k] = float.NegativeInfinity;
        float before = result[valueStride], now = before;
        for (int k = 0; k < count; k++)
            now = row[k] > now ? row[k] : now;
        F shift = L.Of(float.IsNegativeInfinity(now) ? 0 : now), sum = L.Of(0f);
        for (int k = 0; k < padded; k += L.Count)
        {
            F p = AttentionExponential<F, I, L>.Of(L.Subtract(Load(row + k), shift));
            L.Store((long)(row + k), p);
            sum = L.Add(sum, p);
        }
        float factor = float.IsNegativeInfinity(before) ? 0 : MathF.Exp(before - now);
        if (factor != 1)
            AttentionRows.Scale(result, factor, size, result);
        result[valueStride] = now;
        result[valueStride + 1] = result[valueStride + 1] * factor + L.Sum(sum);
    }

    /// <summary>results[r] += Σ_k weights[r, k] · values[k] for two rows.</summary>
    private void AddValues(float* weights, float* value, nint stride, int count, int size, float* result)
    {
        int d = 0;
        for (; d + 4 * L.Count <= size; d += 4 * L.Count)
            AddFour(weights, value + d, stride, count, result + d, result + PartialStride + d);
        for (; d < size; d += L.Count)
            AddOne(weights, value + d, stride, count, result + d, result + PartialStride + d);
    }

    private static void AddFour(float* weights, float* value, nint stride, int count, float* first, float* second)
    {
        int w = L.Count;
        F a0 = Load(first), a1 = Load(first + w), a2 = Load(first + 2 * w), a3 = Load(first + 3 * w);
        F b0 = Load(second), b1 = Load(second + w), b2 = Load(second + 2 * w), b3 = Load(second + 3 * w);
        for (int k = 0; k < count; k++, value += stride)
        {
            F pa = L.Of(weights[k]), pb = L.Of(weights[TileKeys + k]);
            F x = Load(value);
            (a0, b0) = (L.MultiplyAdd(pa, x, a0), L.MultiplyAdd(pb, x, b0));
            x = Load(value + w);
            (a1, b1) = (L.MultiplyAdd(pa, x, a1), L.MultiplyAdd(pb, x, b1));
            x = Load(value + 2 * w);
            (a2, b2) = (L.MultiplyAdd(pa, x, a2), L.MultiplyAdd(pb, x, b2));
            x = Load(value + 3 * w);
            (a3, b3) = (L.MultiplyAdd(pa, x, a3), L.MultiplyAdd(pb, x, b3));
        }
        L.Store((long)first, a0);
        L.Store((long)(first + w), a1);
        L.Store((long)(first + 2 * w), a2);
        L.Store((long)(first + 3 * w), a3);
        L.Store((long)second, b0);
        L.Store((long)(second + w), b1);
        L.Store((long)(second + 2 * w), b2);
        L.Store((long)(second + 3 * w), b3);
    }

    private static void AddOne(float* weights, float* value, nint stride, int count, float* first, float* second)
    {
        F a = Load(first), b = Load(second);
        for (int k = 0; k < count; k++, value += stride)
        {
            F x = Load(value);
            (a, b) = (L.MultiplyAdd(L.Of(weights[k]), x, a), L.MultiplyAdd(L.Of(weights[TileKeys + k]), x, b));
        }
        L.Store((long)first, a);
        L.Store((long)second, b);
    }

    private void Combine(in AttentionArgs args, int batch, int head, int used)
    {
        int keyHead = head / args.Group, inGroup = head % args.Group;
        float largest = float.NegativeInfinity;
        for (int range = 0; range < used; range++)
            largest = Math.Max(largest, Partial(args, batch, keyHead, inGroup, range)[valueStride]);
        float* output = args.Output.Floats(batch, 0, head);
        float denominator = 0;
        AttentionRows.Clear(output, args.ValueSize);
        for (int range = 0; range < used; range++)
        {
            float* result = Partial(args, batch, keyHead, inGroup, range);
            if (float.IsNegativeInfinity(result[valueStride]))
                continue;
            float factor = MathF.Exp(result[valueStride] - largest);
            denominator += factor * result[valueStride + 1];
            AttentionRows.AddScaled(result, factor, args.ValueSize, output);
        }
        AttentionRows.Scale(output, denominator == 0 ? 0 : 1 / denominator, args.ValueSize, output);
        if (args.LogSumExp != 0)
            args.LogSumExpRow(batch, head)[0] = largest + MathF.Log(denominator);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static F Load(float* source) => L.Load((long)source);
}
