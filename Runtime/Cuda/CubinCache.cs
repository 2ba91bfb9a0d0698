using System.Security.Cryptography;
using System.Text;
using Legato.Runtime.Checkpoints;

namespace Legato.Runtime.Cuda;

/// <summary>
/// Files that spare work on the next start, under a key's hash: machine code, the choice of an algorithm. A file
/// carries a hash of its content, so that a damaged one is noticed and made anew; writes are atomic, so that processes
/// don't disturb each other.
/// </summary>
public static class CubinCache
{
    /// <summary>Overrides where the files lie.</summary>
    public const string Variable = "LEGATO_CACHE";

    /// <summary>Where the files lie.</summary>
    public static string Folder
    {
        get
        {
            if (Environment.GetEnvironmentVariable(Variable) is { Length: > 0 } given)
                return Path.Combine(given, "cuda");
            string? cache = Environment.GetEnvironmentVariable("XDG_CACHE_HOME");
            string home = string.IsNullOrEmpty(cache) ? Path.Combine(Environment.GetFolderPath(Environment.SpecialFolder.UserProfile), ".cache") : cache;
            return Path.Combine(home, "legato", "cuda");
        }
    }

    /// <summary>Whether nothing is kept: no start was before, as far as is known.</summary>
    public static bool IsEmpty
    {
        get
        {
            try
            {
                return !Directory.EnumerateFileSystemEntries(Folder).Any();
            }
            catch (Exception e) when (e is IOException or UnauthorizedAccessException)
            {
                return true;
            }
        }
    }

    /// <summary>What was kept under a key; null if nothing was, or it is damaged.</summary>
    public static byte[]? Find(string key)
    {
        try
        {
            byte[] file = File.ReadAllBytes(PathOf(key));
            bool isWhole = file.Length > SHA256.HashSizeInBytes
                && SHA256.HashData(file.AsSpan(SHA256.HashSizeInBytes)).AsSpan().SequenceEqual(file.AsSpan(0, SHA256.HashSizeInBytes));
            return isWhole ? file[SHA256.HashSizeInBytes..] : null;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return null;
        }
    }

    /// <summary>Keeps content under a key; a folder that can't be written is no mistake.</summary>
    public static void Keep(string key, byte[] content)
    {
        string path = PathOf(key), temporary = $"{path}.{Environment.ProcessId}-{Environment.CurrentManagedThreadId}";
        try
        {
            Directory.CreateDirectory(Path.GetDirectoryName(path)!);
            File.WriteAllBytes(temporary, [.. SHA256.HashData(content), .. content]);
            File.Move(temporary, path, overwrite: true);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            // The next start does the work again. A full disk gets back what was written.
            AtomicWrite.TryRemove(() => File.Delete(temporary));
        }
    }

    private static string PathOf(string key) => Path.Combine(Folder, Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(key))));
}
