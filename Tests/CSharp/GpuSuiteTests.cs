using System.Diagnostics;
using System.Runtime.CompilerServices;
using NUnit.Framework;

namespace Legato.Tests;

/// <summary>The script that runs the device suite where there is a GPU names tests by patterns, which must not lose them when they are renamed.</summary>
[TestFixture]
public class GpuSuiteTests
{
    [Test]
    public void EveryPartHasTests()
    {
        if (!File.Exists("/bin/bash"))
            Assert.Ignore("this machine has no bash");
        var start = new ProcessStartInfo("/bin/bash", [Script(), TestContext.CurrentContext.TestDirectory, "names"]) { RedirectStandardOutput = true };
        start.Environment["DOTNET"] = Environment.ProcessPath;
        using Process suite = Process.Start(start)!;
        string said = suite.StandardOutput.ReadToEnd();
        suite.WaitForExit();
        Assert.That(said, Does.Not.Contain("FAILED").And.Contain("=== names: clean"));
        Assert.That(suite.ExitCode, Is.Zero);
    }

    private static string Script([CallerFilePath] string here = "") => Path.Combine(Path.GetDirectoryName(here)!, "..", "gpu-suite.sh");
}
