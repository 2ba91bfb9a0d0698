using System.Diagnostics;
using System.Runtime.InteropServices;
using System.Xml.Linq;
using Legato.Runtime.Cuda;
using NUnit.Framework.Api;
using NUnit.Framework.Interfaces;
using NUnit.Framework.Internal;

namespace Legato.Tests;

/// <summary>
/// Runs tests without the SDK, as on a machine that has a GPU and little else: <c>dotnet Legato.Tests.CSharp.dll [PATTERN]</c>, a regular
/// expression of full names. Prints what fails or takes long, and how many passed and were skipped; the test that it was in where it is told to
/// end. With <c>--count</c> it runs nothing: of each pattern in its input, a line each, it prints how many tests have such names.
/// </summary>
internal static class Program
{
    /// <summary>A test that takes longer is named.</summary>
    private const double LongSeconds = 2;

    public static int Main(string[] arguments)
    {
        var runner = new NUnitTestAssemblyRunner(new DefaultTestAssemblyBuilder());
        runner.Load(typeof(Program).Assembly, new Dictionary<string, object>());
        if (arguments is ["--count"])
        {
            while (Console.ReadLine() is { } pattern)
                Console.WriteLine(runner.CountTestCases(Named(pattern)));
            return 0;
        }
        var printer = new Printer();
        using PosixSignalRegistration told = PosixSignalRegistration.Create(PosixSignal.SIGTERM, _ => printer.TellWhere());
        // The GPU's context outlives the devices of single tests: making one takes longer than most of them.
        using CudaDevice? kept = CudaMachine.IsUsable ? new CudaDevice() : null;
        ITestResult result = runner.Run(printer, Named(arguments.FirstOrDefault() ?? "."));
        Console.WriteLine($"{result.PassCount} passed, {result.FailCount} failed, {result.SkipCount} skipped");
        return result.FailCount == 0 && result.PassCount > 0 ? 0 : 1;
    }

    private static TestFilter Named(string pattern) =>
        TestFilter.FromXml(new XElement("filter", new XElement("test", new XAttribute("re", 1), pattern)).ToString());

    private sealed class Printer : ITestListener
    {
        // Tests run one after another.
        private volatile string? running;
        private long start;

        /// <summary>Names the test that is running.</summary>
        public void TellWhere()
        {
            Console.WriteLine($"told to end {(running is null ? "between tests" : $"after {Stopwatch.GetElapsedTime(start).TotalSeconds:F1} s of {running}")}");
            Console.Out.Flush();
        }

        public void TestStarted(ITest test)
        {
            if (!test.IsSuite)
                (start, running) = (Stopwatch.GetTimestamp(), test.FullName);
        }

        public void TestFinished(ITestResult result)
        {
            if (!result.Test.IsSuite)
                running = null;
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
