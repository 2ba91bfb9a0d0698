using Legato.Runtime.Cpu;
using NUnit.Framework;

namespace Legato.Tests;

[TestFixture]
public class MachineLimitsTests
{
    [Test]
    public void MeasuresWhatAProcessorCanPlausiblyDo()
    {
        using var team = new Team(new TeamOptions(Threads: 1));
        MachineLimits limits = MachineLimits.Measure(team);
        Assert.Multiple(() =>
        {
            Assert.That(limits.Processor, Is.Not.Empty);
            Assert.That(limits.Cores, Is.GreaterThanOrEqualTo(1));
            Assert.That(limits.Threads, Is.EqualTo(1));
            Assert.That(limits.Isa, Is.EqualTo(CpuIsaChoice.Active));
            Assert.That(limits.FlopsOneThread, Is.InRange(1e8, 1e13));
            Assert.That(limits.ReadBytesOneThread, Is.InRange(1e7, 1e13));
            Assert.That(limits.ToString(), Does.Contain("GFLOP/s"));
        });
    }
}
