using System.Globalization;
using System.Text;

namespace Legato.Runtime.Plans;

/// <summary>
/// A size: a polynomial with integer coefficients in the plan's dynamic dimensions, such as
/// <c>768*batch*seq + 1</c>. Terms are kept sorted and merged, so equal polynomials are equal values.
/// </summary>
public sealed class Extent : IEquatable<Extent>
{
    private readonly (string Monomial, long Coefficient)[] terms;

    private Extent((string, long)[] terms) => this.terms = terms;

    public static Extent Zero { get; } = new([]);

    public static Extent One { get; } = Of(1);

    /// <summary>A constant size.</summary>
    public static Extent Of(long value) => value == 0 ? new([]) : new([("", value)]);

    /// <summary>The size of one dynamic dimension, bound when the plan is launched.</summary>
    public static Extent Dimension(string name) => new([(name, 1)]);

    public static implicit operator Extent(long value) => Of(value);

    public bool IsConstant => terms.Length == 0 || (terms.Length == 1 && terms[0].Monomial.Length == 0);

    /// <summary>The value of a constant extent.</summary>
    public long Constant => IsConstant
        ? terms.Length == 0 ? 0 : terms[0].Coefficient
        : throw new InvalidOperationException($"the extent {this} depends on a dynamic dimension");

    /// <summary>The dynamic dimensions that occur in the polynomial, sorted, each once.</summary>
    public IEnumerable<string> Dimensions =>
        terms.SelectMany(t => t.Monomial.Split('*', StringSplitOptions.RemoveEmptyEntries)).Distinct().Order(StringComparer.Ordinal);

    /// <summary>The summands: a coefficient and the dimensions it is multiplied by, each as often as its power.</summary>
    public IEnumerable<(long Coefficient, IReadOnlyList<string> Factors)> Terms =>
        terms.Select(t => (t.Coefficient, (IReadOnlyList<string>)t.Monomial.Split('*', StringSplitOptions.RemoveEmptyEntries)));

    /// <exception cref="TooLargeException">A coefficient is beyond 64 bits.</exception>
    public static Extent operator +(Extent a, Extent b) => Counted(() => Merge(a.terms.Concat(b.terms)));

    /// <exception cref="TooLargeException">A coefficient is beyond 64 bits.</exception>
    public static Extent operator *(Extent a, Extent b) => Counted(() =>
        Merge(from x in a.terms from y in b.terms select (Join(x.Monomial, y.Monomial), checked(x.Coefficient * y.Coefficient))));

    /// <summary>The value with every dynamic dimension bound by <paramref name="dimension"/>.</summary>
    /// <exception cref="TooLargeException">It is beyond 64 bits.</exception>
    public long Evaluate(Func<string, long> dimension) => Counted(() => Sum(dimension));

    private long Sum(Func<string, long> dimension)
    {
        long sum = 0;
        foreach ((string monomial, long coefficient) in terms)
        {
            long product = coefficient;
            if (monomial.Length > 0)
                foreach (string name in monomial.Split('*'))
                    product = checked(product * dimension(name));
            sum = checked(sum + product);
        }
        return sum;
    }

    /// <summary>
    /// This extent over <paramref name="divisor"/> where that is exact term by term, else null.
    /// The divisor is a single term (a product of sizes).
    /// </summary>
    public Extent? DividedBy(Extent divisor)
    {
        if (divisor.terms.Length != 1)
            return null;
        (string under, long by) = divisor.terms[0];
        var result = new List<(string, long)>();
        foreach ((string monomial, long coefficient) in terms)
        {
            var names = monomial.Split('*', StringSplitOptions.RemoveEmptyEntries).ToList();
            foreach (string name in under.Split('*', StringSplitOptions.RemoveEmptyEntries))
                if (!names.Remove(name))
                    return null;
            if (coefficient % by != 0)
                return null;
            result.Add((string.Join('*', names), coefficient / by));
        }
        return Merge(result);
    }

    public bool Equals(Extent? other) => other is not null && terms.AsSpan().SequenceEqual(other.terms);

    public override bool Equals(object? obj) => obj is Extent other && Equals(other);

    public override int GetHashCode()
    {
        var hash = default(HashCode);
        foreach ((string, long) term in terms)
            hash.Add(term);
        return hash.ToHashCode();
    }

    public override string ToString()
    {
        if (terms.Length == 0)
            return "0";
        var text = new StringBuilder();
        foreach ((string monomial, long coefficient) in terms)
        {
            if (text.Length > 0)
                text.Append(" + ");
            if (monomial.Length == 0)
                text.Append(coefficient.ToString(CultureInfo.InvariantCulture));
            else if (coefficient == 1)
                text.Append(monomial);
            else
                text.Append(coefficient.ToString(CultureInfo.InvariantCulture)).Append('*').Append(monomial);
        }
        return text.ToString();
    }

    /// <summary>Reads the form that <see cref="ToString"/> writes.</summary>
    /// <exception cref="LegatoException">The text is no polynomial.</exception>
    public static Extent Parse(string text)
    {
        Extent sum = Zero;
        foreach (string term in text.Split('+', StringSplitOptions.TrimEntries))
        {
            Extent product = One;
            foreach (string factor in term.Split('*', StringSplitOptions.TrimEntries))
            {
                if (long.TryParse(factor, NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out long number))
                    product *= Of(number);
                else if (factor.Length > 0 && char.IsAsciiLetter(factor[0]))
                    product *= Dimension(factor);
                else
                    throw new LegatoException($"'{text}' is no size", remedy: "write the plan file anew with `legato plan --save`");
            }
            sum += product;
        }
        return sum;
    }

    private static T Counted<T>(Func<T> count)
    {
        try
        {
            return count();
        }
        catch (OverflowException e)
        {
            throw new TooLargeException("a size is beyond what 64 bits count", remedy: "choose smaller sizes", inner: e);
        }
    }

    private static string Join(string a, string b)
    {
        if (a.Length == 0)
            return b;
        if (b.Length == 0)
            return a;
        string[] names = [.. a.Split('*'), .. b.Split('*')];
        Array.Sort(names, StringComparer.Ordinal);
        return string.Join('*', names);
    }

    private static Extent Merge(IEnumerable<(string Monomial, long Coefficient)> terms) =>
        new([.. terms.GroupBy(t => t.Monomial, StringComparer.Ordinal)
            .Select(g => (g.Key, Coefficient: g.Sum(t => t.Coefficient)))
            .Where(t => t.Coefficient != 0)
            .OrderByDescending(t => t.Key, StringComparer.Ordinal)]);
}
