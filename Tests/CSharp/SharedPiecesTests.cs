using Legato.Runtime.Cuda;
using NUnit.Framework;

namespace Legato.Tests;

[TestFixture]
public class SharedPiecesTests
{
    private static readonly TimeSpan Long = TimeSpan.FromSeconds(20), Moment = TimeSpan.FromMilliseconds(50);

    /// <summary>Others want more pieces than there are: who is alone would wait for ever if one of them could hold a piece and wait for it.</summary>
    [Test]
    public void WhoIsAloneHasAllPieces()
    {
        using SharedPieces<int> pieces = Pieces(2);
        using var stop = new CancellationTokenSource();
        Task[] others = [.. Enumerable.Range(0, 6).Select(_ => Task.Factory.StartNew(
            () =>
            {
                while (!stop.IsCancellationRequested)
                    pieces.Give(pieces.Take());
            },
            TaskCreationOptions.LongRunning))];
        Task<int> alone = Task.Run(() => Enumerable.Range(0, 200).Sum(_ => pieces.Alone(() =>
        {
            (int one, int other) = (pieces.Take(), pieces.Take());
            pieces.Give(one);
            pieces.Give(other);
            return one + other;
        })));
        Assert.That(alone.Wait(Long), "it has both");
        stop.Cancel();
        Assert.That(Task.WaitAll(others, Long));
        Assert.That(alone.Result, Is.EqualTo(200));
    }

    [Test]
    public void WhoIsAloneWaitsUntilAllAreBackAndOthersUntilItIsDone()
    {
        using SharedPieces<int> pieces = Pieces(2);
        using var begun = new ManualResetEventSlim();
        using var end = new ManualResetEventSlim();
        int taken = pieces.Take();
        Task<bool> alone = Task.Run(() => pieces.Alone(() =>
        {
            begun.Set();
            return end.Wait(Long);
        }));
        Assert.That(begun.Wait(Moment), Is.False, "a piece is out");
        pieces.Give(taken);
        Assert.That(begun.Wait(Long));
        Task other = Task.Run(() => pieces.Give(pieces.Take()));
        Assert.That(other.Wait(Moment), Is.False, "another is alone");
        end.Set();
        Assert.That(Task.WaitAll([alone, other], Long));
        Assert.That(alone.Result);
    }

    private static SharedPieces<int> Pieces(int count)
    {
        var pieces = new SharedPieces<int>();
        for (int i = 0; i < count; i++)
            pieces.Add(i);
        return pieces;
    }
}
