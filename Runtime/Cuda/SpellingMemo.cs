using System.Collections.Concurrent;
using System.Runtime.CompilerServices;

namespace Legato.Runtime.Cuda;

/// <summary>
/// What was worked out of a part of a plan, kept as long as that part is: a loop's steps come again in every iteration, and a plan
/// that is first looked at and then made ready is lowered twice. Parts are told apart by reference: their values are long.
/// </summary>
internal static class SpellingMemo
{
    private static readonly ConditionalWeakTable<object, ConcurrentDictionary<object, Lazy<object?>>> Known = [];

    /// <summary>What <paramref name="make"/> gives, or has given before. Of several threads one makes it, and the others wait.</summary>
    /// <param name="key">All that it depends on beside the part, and what it is.</param>
    public static T Of<T>(object part, object key, Func<T> make) =>
        (T)Known.GetOrCreateValue(part).GetOrAdd(key, _ => new Lazy<object?>(() => make())).Value!;
}
