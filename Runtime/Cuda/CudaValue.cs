using Legato.Runtime.Interpreter;
using Legato.Runtime.Plans;

namespace Legato.Runtime.Cuda;

/// <summary>
/// An expression of CUDA C++. Integers are <c>int</c> where their range allows, else <c>long long</c>.
/// </summary>
internal readonly record struct CudaValue(string Text, ScalarKind Kind, IntegerRange Range)
{
    public static CudaValue Float(string text) => new(text, ScalarKind.Float, IntegerRange.Any);

    public static CudaValue Boolean(string text) => new(text, ScalarKind.Boolean, IntegerRange.Unsure);

    public static CudaValue Integer(string text, IntegerRange range) => new(text, ScalarKind.Integer, range);

    /// <summary>The type of a variable that holds the value.</summary>
    public string Type => Kind switch
    {
        ScalarKind.Float => "float",
        ScalarKind.Boolean => "bool",
        _ => IntegerType(Range),
    };

    public static bool FitsInt(IntegerRange range) => range.Low >= int.MinValue && range.High <= int.MaxValue;

    public static string IntegerType(IntegerRange range) => FitsInt(range) ? "int" : "long long";
}
