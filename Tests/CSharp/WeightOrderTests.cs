using Legato.Runtime.Cpu;
using NUnit.Framework;

namespace Legato.Tests;

/// <summary>What a worker of the CPU reads after an address.</summary>
[TestFixture]
public class WeightOrderTests
{
    private static readonly WeightPiece[] Own = [new(1000, 100), new(3000, 0), new(2000, 50)];

    [TestCase(0, ExpectedResult = 1010)]
    [TestCase(89, ExpectedResult = 1099)]
    [TestCase(90, ExpectedResult = 2000)]
    [TestCase(139, ExpectedResult = 2049)]
    [TestCase(140, ExpectedResult = 1000)]
    public long TheNextStepsThenTheFirstAgain(int bytes) => new WeightOrder(Own[0], Own, 1).Beyond(1010, bytes);

    [TestCase(9, ExpectedResult = 7019)]
    [TestCase(10, ExpectedResult = 7010)]
    public long NothingIsReadAfterAPieceAlone(int bytes) => new WeightOrder(new(7000, 20), [], 0).Beyond(7010, bytes);

    /// <summary>The address, where its piece ends, and which piece comes after that: an empty one is passed over.</summary>
    [TestCase(0, ExpectedResult = "1010 to 1100, then 1")]
    [TestCase(89, ExpectedResult = "1099 to 1100, then 1")]
    [TestCase(90, ExpectedResult = "2000 to 2050, then 0")]
    [TestCase(139, ExpectedResult = "2049 to 2050, then 0")]
    [TestCase(140, ExpectedResult = "1000 to 1100, then 1")]
    public unsafe string WhatIsFetchedMovesFromPieceToPiece(int bytes)
    {
        fixed (WeightPiece* pieces = Own)
        {
            PanelFetch fetch = new WeightOrder(Own[0], Own, 1).Fetch(1010, bytes, pieces, move: 256);
            Assert.That((nint)fetch.Begin == (nint)pieces && (nint)fetch.Last == (nint)(pieces + 2) && fetch.Move == 256);
            return $"{(nint)fetch.First} to {(nint)fetch.End}, then {fetch.Next - pieces}";
        }
    }

    [TestCase(9, ExpectedResult = 7019)]
    [TestCase(10, ExpectedResult = 7010)]
    public unsafe long NothingIsFetchedAfterAPieceAlone(int bytes) => (nint)new WeightOrder(new(7000, 20), [], 0).Fetch(7010, bytes, null, move: 256).First;
}
