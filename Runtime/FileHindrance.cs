namespace Legato.Runtime;

/// <summary>
/// What keeps a file or a stream from being used, in words of our own: those of .NET speak of processes and resources, and name
/// files that only stand there while another is written.
/// </summary>
public static class FileHindrance
{
    /// <param name="path">What was to be read, where that may be a folder: .NET denies access to it.</param>
    public static string Of(Exception e, string? path = null) => e switch
    {
        FileNotFoundException => "there is no such file",
        DirectoryNotFoundException => "there is no such folder",
        PathTooLongException => "the name is too long",
        UnauthorizedAccessException => Directory.Exists(path) ? "it is a folder" : "access is denied",
        _ when IsFull(e) => "the disk is full",
        _ when IsHeld(e) => "another process has it",
        _ => WithoutPlace(e.Message),
    };

    /// <summary>Whether there is no room: ENOSPC and EDQUOT, ERROR_DISK_FULL.</summary>
    public static bool IsFull(Exception e) => e.HResult is 28 or 122 or unchecked((int)0x80070070);

    /// <summary>Whether another process keeps it to itself: EWOULDBLOCK on Linux and on macOS, ERROR_SHARING_VIOLATION.</summary>
    public static bool IsHeld(Exception e) => e.HResult is 11 or 35 or unchecked((int)0x80070020);

    /// <summary>What the message says of where, if anything.</summary>
    public static string? Place(Exception e) => e.Message.Split('\'') is [_, { Length: > 0 } place, _] ? place : null;

    // "Read-only file system : '/runs/.partial-71-latest'": the mistake's place is told beside it.
    private static string WithoutPlace(string message) => message.Split(" : '")[0];
}
