using Legato.Runtime;
using NUnit.Framework;

namespace Legato.Tests;

public sealed class LegatoExceptionTests
{
    [Test]
    public void MessageCarriesWhatWhereAndRemedy()
    {
        var error = new LegatoException("the file is empty", "data/input.txt", "give a file with text in it");

        Assert.That(error.Message, Does.Contain("the file is empty")
            .And.Contain("data/input.txt")
            .And.Contain("give a file with text in it"));
    }

    [Test]
    public void AbsentPartsLeaveNoTrace() =>
        Assert.That(new LegatoException("the file is empty").Message, Is.EqualTo("the file is empty"));
}
