using Legato.Runtime.Plans;
using NUnit.Framework;
using static Legato.Runtime.Plans.Operation;
using static Legato.Tests.AttentionExpressions;

namespace Legato.Tests;

/// <summary>The classification of mask tiles against every point of them.</summary>
[TestFixture]
public class MaskTilesTests
{
    [Test]
    public void RandomMasksAreClassifiedSoundly([Range(1, 8)] int seed)
    {
        var random = new Random(seed);
        for (int i = 0; i < 400; i++)
        {
            Expr mask = RandomBoolean(random, 4);
            var tiles = new MaskTiles(mask);
            for (int j = 0; j < 6; j++)
                CheckSound(mask, tiles, RandomTile(random, 8));
        }
    }

    private static readonly Expr[] DifferenceMasks =
    [
        Causal,
        Window(5),
        Make(And, Causal, Window(7)),
        Prefix(9),
        Make(And, Prefix(9), Window(4)),
        Make(And, Prefix(6), Make(Or, Window(3), Make(Less, K, Of(2)))),
        Make(Not, Make(And, Causal, Window(3))),
        Make(And, Make(Less, K, Of(8)), Window(4)),
        Make(Or, Make(And, Causal, Window(4)), Make(LessOrEqual, Of(20), Q)),
        Make(Equal, Q, K),
        Make(And, Make(Less, Make(Negate, Make(Subtract, K, Q)), Of(6)), Make(LessOrEqual, Make(Add, K, Of(2)), Q)),
    ];

    [TestCaseSource(nameof(DifferenceMasks))]
    public void DifferenceMasksAreClassifiedExactly(Expr mask)
    {
        var random = new Random(7);
        var tiles = new MaskTiles(mask);
        for (int i = 0; i < 3000; i++)
        {
            MaskTile tile = RandomTile(random, 20);
            (bool some, bool all, IntegerRange keys) = Enumerate(mask, tile);
            Assert.That(tiles.Classify(tile), Is.EqualTo(all ? TileKind.Full : some ? TileKind.Partial : TileKind.Empty), $"{mask} on {tile}");
            IntegerRange visible = tiles.VisibleKeys(tile);
            Assert.That(visible.Low <= visible.High, Is.EqualTo(some), $"{mask} on {tile}");
            if (some)
                Assert.That(visible, Is.EqualTo(keys), $"{mask} on {tile}");
        }
    }

    /// <summary>Where each position's document starts: what a packed row's mask reads.</summary>
    private sealed class Starts(int[] starts) : IMaskOperands
    {
        public IntegerRange RangeOf(Expr.Load load, in MaskTile tile)
        {
            int[] read = starts[(int)tile.Query.Low..((int)tile.Query.High + 1)];
            return new(read.Min(), read.Max());
        }
    }

    [Test]
    public void TilesOfOtherDocumentsAreEmpty()
    {
        int[] starts = [0, 0, 0, 0, 0, 5, 5, 5, 8, 8, 8, 8, 8, 8, 8, 8, 16, 16, 16, 16];
        var operands = new Starts(starts);
        var tiles = new MaskTiles(Make(And, Causal, Make(LessOrEqual, new Expr.Load(0, new(new IndexTerm(Q, Extent.One))), K)));
        bool Sees(long q, long k) => k <= q && starts[q] <= k;
        MaskTile Tile(int q0, int q1, int k0, int k1) => new(IntegerRange.Of(0), IntegerRange.Of(0), new(q0, q1), new(k0, k1), operands);

        Assert.That(tiles.Classify(Tile(8, 15, 0, 7)), Is.EqualTo(TileKind.Empty));
        Assert.That(tiles.Classify(Tile(12, 15, 8, 11)), Is.EqualTo(TileKind.Full));
        Assert.That(tiles.VisibleKeys(Tile(16, 19, 0, 19)), Is.EqualTo(new IntegerRange(16, 19)));
        for (int q0 = 0; q0 < 20; q0++)
            for (int q1 = q0; q1 < Math.Min(20, q0 + 5); q1++)
                for (int k0 = 0; k0 < 20; k0++)
                {
                    MaskTile tile = Tile(q0, q1, k0, Math.Min(19, k0 + 3));
                    bool[] seen = [.. from q in Enumerable.Range(q0, q1 - q0 + 1) from k in Enumerable.Range(k0, (int)tile.Key.High - k0 + 1) select Sees(q, k)];
                    TileKind kind = tiles.Classify(tile);
                    Assert.That(kind != TileKind.Empty || seen.All(s => !s), $"{tile}");
                    Assert.That(kind != TileKind.Full || seen.All(s => s), $"{tile}");
                }
    }

    [Test]
    public void LoadsAndFloatsMakeATilePartial()
    {
        var tile = new MaskTile(IntegerRange.Of(0), IntegerRange.Of(0), new(0, 3), new(0, 3));
        Assert.That(new MaskTiles(SameDocument(4)).Classify(tile), Is.EqualTo(TileKind.Partial));
        Assert.That(new MaskTiles(Make(Less, Make(ToFloat, K), Number(100))).Classify(tile), Is.EqualTo(TileKind.Partial));
        Assert.That(new MaskTiles(Make(And, SameDocument(4), Make(Less, Q, K))).Classify(tile with { Query = new(5, 6) }), Is.EqualTo(TileKind.Empty));
    }

    [Test]
    public void SizesAreBound()
    {
        var mask = new MaskTiles(Make(Less, K, new Expr.Size(Extent.Dimension("seq") * 2)), name => name == "seq" ? 5 : 0);
        var tile = new MaskTile(IntegerRange.Of(0), IntegerRange.Of(0), new(0, 3), new(0, 9));
        Assert.That(mask.Classify(tile), Is.EqualTo(TileKind.Full));
        Assert.That(mask.Classify(tile with { Key = new(10, 12) }), Is.EqualTo(TileKind.Empty));
    }

    [Test]
    public void NoMaskIsFull() => Assert.That(new MaskTiles(null).Classify(RandomTile(new Random(1), 9)), Is.EqualTo(TileKind.Full));

    [Test]
    public void LargeMasksStaySound()
    {
        Expr mask = Causal;
        for (int i = 1; i < 12; i++)
            mask = Make(And, mask, Make(Or, Window(3 * i), Make(Less, K, Of(i))));
        var random = new Random(3);
        var tiles = new MaskTiles(mask);
        for (int i = 0; i < 300; i++)
            CheckSound(mask, tiles, RandomTile(random, 12));
    }

    [Test]
    public void ClassifyingAllocatesNothing()
    {
        var tiles = new MaskTiles(Make(And, Prefix(9), Window(4)));
        MaskTile tile = RandomTile(new Random(2), 16);
        tiles.Classify(tile);
        long before = GC.GetAllocatedBytesForCurrentThread();
        for (int i = 0; i < 100; i++)
        {
            tiles.Classify(tile);
            tiles.VisibleKeys(tile);
        }
        Assert.That(GC.GetAllocatedBytesForCurrentThread() - before, Is.Zero);
    }

    private static void CheckSound(Expr mask, MaskTiles tiles, MaskTile tile)
    {
        (bool some, bool all, IntegerRange keys) = Enumerate(mask, tile);
        TileKind kind = tiles.Classify(tile);
        if (kind == TileKind.Full)
            Assert.That(all, $"{mask} is not full on {tile}");
        if (kind == TileKind.Empty)
            Assert.That(!some, $"{mask} is not empty on {tile}");
        IntegerRange visible = tiles.VisibleKeys(tile);
        if (some)
            Assert.That(visible.Low <= keys.Low && visible.High >= keys.High, $"{mask} on {tile} sees {keys}, not {visible}");
    }

    private static (bool Some, bool All, IntegerRange Keys) Enumerate(Expr mask, MaskTile tile)
    {
        bool some = false, all = true;
        var keys = new IntegerRange(long.MaxValue, long.MinValue);
        for (long b = tile.Batch.Low; b <= tile.Batch.High; b++)
            for (long h = tile.Head.Low; h <= tile.Head.High; h++)
                for (long q = tile.Query.Low; q <= tile.Query.High; q++)
                    for (long k = tile.Key.Low; k <= tile.Key.High; k++)
                    {
                        bool visible = Integer(mask, b, h, q, k) != 0;
                        some |= visible;
                        all &= visible;
                        if (visible)
                            keys = keys.Hull(IntegerRange.Of(k));
                    }
        return (some, all, keys);
    }

    private static MaskTile RandomTile(Random random, int extent)
    {
        IntegerRange Range(int limit, int length) => random.Next(limit) is var low ? new(low, low + random.Next(length)) : default;
        return new(Range(3, 2), Range(3, 2), Range(24, extent), Range(24, extent));
    }

    private static Expr RandomBoolean(Random random, int depth) => random.Next(depth > 0 ? 8 : 3) switch
    {
        0 => Make(Less, RandomInteger(random, depth - 1), RandomInteger(random, depth - 1)),
        1 => Make(LessOrEqual, RandomInteger(random, depth - 1), RandomInteger(random, depth - 1)),
        2 => Make(Equal, RandomInteger(random, depth - 1), RandomInteger(random, depth - 1)),
        3 or 4 => Make(And, RandomBoolean(random, depth - 1), RandomBoolean(random, depth - 1)),
        5 => Make(Or, RandomBoolean(random, depth - 1), RandomBoolean(random, depth - 1)),
        6 => Make(Not, RandomBoolean(random, depth - 1)),
        _ => Make(Select, RandomBoolean(random, depth - 1), RandomBoolean(random, depth - 1), RandomBoolean(random, depth - 1)),
    };

    private static Expr RandomInteger(Random random, int depth)
    {
        if (depth <= 0 || random.Next(3) == 0)
            return random.Next(7) switch { 0 => B, 1 => H, 2 or 3 => Q, 4 or 5 => K, _ => Of(random.Next(-8, 24)) };
        Operation[] binary = [Add, Subtract, Multiply, Minimum, Maximum];
        return random.Next(5) switch
        {
            0 => Make(random.Next(2) == 0 ? Divide : Remainder, RandomInteger(random, depth - 1), Of(random.Next(1, 7))),
            1 => Make(random.Next(2) == 0 ? Negate : Absolute, RandomInteger(random, depth - 1)),
            2 when depth > 1 => Make(Select, RandomBoolean(random, depth - 2), RandomInteger(random, depth - 1), RandomInteger(random, depth - 1)),
            _ => Make(binary[random.Next(binary.Length)], RandomInteger(random, depth - 1), RandomInteger(random, depth - 1)),
        };
    }
}
