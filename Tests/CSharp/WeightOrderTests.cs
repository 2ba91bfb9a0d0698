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
}
