using System.Xml.Linq;
using Legato.Runtime.Cuda;
using NUnit.Framework.Api;
using NUnit.Framework.Interfaces;
using NUnit.Framework.Internal;

namespace Legato.Tests;

/// <summary>
/// Runs tests without the SDK, as on a machine that has a GPU and little else: <c>dotnet Legato.Tests.CSharp.dll [PATTERN]</c>, a regular
/// expression of full names. Prints what fails or takes long, and how many passed and were skipped.
/// </summary>
internal static class Program
{
    /// <summary>A test that takes longer is named.</summary>
    private const double LongSeconds = 2;

    public static int Main(string[] arguments)
    {
        // The GPU's context outlives the devices of single tests: making one takes longer than most of them.
        using CudaDevice? kept = CudaMachine.IsUsable ? new CudaDevice() : null;
        var filter = new XElement("filter", new XElement("test", new XAttribute("re", 1), arguments.FirstOrDefault() ?? "."));
        var runner = new NUnitTestAssemblyRunner(new DefaultTestAssemblyBuilder());
        runner.Load(typeof(Program).Assembly, new Dictionary<string, object>());
        ITestResult result = runner.Run(new FailurePrinter(), TestFilter.FromXml(filter.ToString()));
        Console.WriteLine($"{result.PassCount} passed, {result.FailCount} failed, {result.SkipCount} skipped");
        return result.FailCount == 0 && result.PassCount > 0 ? 0 : 1;
    }

    private sealed class FailurePrinter : ITestListener
    {
        public void TestStarted(ITest test)
        {
        }

        public void TestFinished(ITestResult result)
        {
            if (result.Test is TestFixture)
                Console.WriteLine($"{result.FullName}: {result.PassCount} passed, {result.FailCount} failed, {result.SkipCount} skipped, {result.Duration:F1} s");
            if (!result.Test.IsSuite && result.Duration > LongSeconds)
                Console.WriteLine($"{result.Duration:F1} s: {result.FullName}");
            if (!result.Test.IsSuite && result.ResultState.Status == TestStatus.Failed)
                Console.WriteLine($"FAILED {result.FullName}\n{result.Message}\n{result.StackTrace}");
        }

        public void TestOutput(TestOutput output)
        {
        }

        public void SendMessage(TestMessage message)
        {
        }
    }
}
