using System.Runtime.InteropServices;
using Legato.Runtime.Cpu;
using NUnit.Framework;

namespace Legato.Tests;

/// <summary>What a worker of the CPU reads ahead of its weights while it waits.</summary>
[TestFixture]
public unsafe class OwnWeightsTests
{
    private const int Piece = 400 << 10;

    private readonly OwnWeights weights = new();
    private nint memory;

    [OneTimeSetUp]
    public void Allocate()
    {
        memory = (nint)NativeMemory.AllocZeroed(2 * Piece);
        weights.Add(new(memory, Piece));
        weights.Add(new(memory + Piece, Piece));
    }

    [OneTimeTearDown]
    public void Free() => NativeMemory.Free((void*)memory);

    [SetUp]
    public void ForgetWhatWasRead() => weights.TakeLead(0);

    [Test]
    public void ItEndsBeyondThePieceWithAPartOfTheCache()
    {
        IIdleWork work = weights.ReadAhead(0);
        while (work.Step())
        {
        }
        Assert.That((long)weights.TakeLead(0), Is.InRange(Piece + 1, 2 * Piece - 1));
        Assert.That((long)weights.TakeLead(0), Is.Zero);
    }

    [Test]
    public void ItGoesOnAtTheNextBarrier()
    {
        Assert.That(weights.ReadAhead(1).Step());
        Assert.That(weights.ReadAhead(1).Step());
        long twice = weights.TakeLead(1);
        Assert.That(weights.ReadAhead(1).Step());
        Assert.That(twice, Is.EqualTo(2 * (long)weights.TakeLead(1)));
    }

    [Test]
    public void WhatWasReadOfOnePieceIsNoLeadOfAnother()
    {
        weights.ReadAhead(0).Step();
        Assert.That((long)weights.TakeLead(1), Is.Zero);
    }

    [TestCase(0, 5000)]
    [TestCase(0, Piece + 100)]
    [TestCase(1, 5000)]
    public void ReadingAheadGoesOnBehindWhatAProductHasFetched(int piece, int fetched)
    {
        weights.LeaveLead(piece, fetched);
        Assert.That(weights.ReadAhead(piece).Step());
        Assert.That((long)weights.TakeLead(piece), Is.EqualTo(fetched + 1024));
    }

    [Test]
    public void BehindTheLastPieceIsTheFirst()
    {
        weights.LeaveLead(2, 5000);
        Assert.That((long)weights.TakeLead(0), Is.EqualTo(5000));
    }

    [Test]
    public void MoreThanThereIsIsNoEndlessLead()
    {
        weights.LeaveLead(0, 3 * Piece);
        Assert.That(weights.ReadAhead(0).Step(), Is.False);
    }

    [Test]
    public void ThereIsNothingToReadWithoutWeights() => Assert.That(new OwnWeights().ReadAhead(0).Step(), Is.False);
}
