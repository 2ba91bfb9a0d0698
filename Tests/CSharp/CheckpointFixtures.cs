using Legato.Runtime.Devices;
using NUnit.Framework;

namespace Legato.Tests;

/// <summary>A folder that goes away with the test.</summary>
internal sealed class TemporaryFolder : IDisposable
{
    public string Path { get; } = Directory.CreateTempSubdirectory("legato-test-").FullName;

    public string File(string name) => System.IO.Path.Combine(Path, name);

    public void Dispose() => Directory.Delete(Path, recursive: true);
}

/// <summary>Third-party files that are not part of the repository; without them a test is skipped, visibly.</summary>
internal static class SharedFolder
{
    public static string Require(string relative)
    {
        for (DirectoryInfo? folder = new(AppContext.BaseDirectory); folder is not null; folder = folder.Parent)
        {
            string candidate = Path.Combine(folder.FullName, "shared", relative);
            if (Directory.Exists(candidate))
                return candidate;
        }
        Assert.Ignore($"there is no folder shared/{relative} beside the repository");
        return "";
    }
}

/// <summary>Device memory that is an array.</summary>
internal sealed class ArrayMemory(long bytes) : IDeviceMemory
{
    public byte[] Content { get; } = new byte[bytes];

    public long Bytes => Content.Length;

    public void Write(long offset, ReadOnlySpan<byte> source) => source.CopyTo(Content.AsSpan((int)offset));

    public void Read(long offset, Span<byte> target) => Content.AsSpan((int)offset, target.Length).CopyTo(target);

    public void Dispose()
    {
    }
}
