using Legato.Runtime.Devices;
using NUnit.Framework;

namespace Legato.Tests;

public sealed class ReleaseStackTests
{
    [Test]
    public void WhatWasTakenLastIsGivenBackFirstAndOnce()
    {
        var held = new ReleaseStack();
        List<string> given = [];
        held.Add(() => given.Add("context"));
        held.Add(() => given.Add("stream"));
        held.Dispose();
        Assert.That(given, Is.EqualTo(new[] { "stream", "context" }));
        held.Dispose();
        Assert.That(given, Has.Count.EqualTo(2));
    }
}
