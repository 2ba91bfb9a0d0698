using System.Linq.Expressions;
using System.Reflection;
using System.Runtime.Intrinsics;
using Legato.Runtime.Plans;

namespace Legato.Runtime.Cpu;

/// <summary>The compiled functions that generated code calls, for one width of vectors.</summary>
internal sealed class KernelFunctions
{
    private readonly Type[] owners;
    private readonly Type memory;

    private KernelFunctions(Type floats, Type integers, Type lanes)
    {
        Floats = floats;
        Integers = integers;
        Lanes = (int)lanes.GetProperty(nameof(Lanes128.Count))!.GetValue(null)!;
        memory = typeof(VectorMemory<,,>).MakeGenericType(floats, integers, lanes);
        owners =
        [
            lanes, typeof(VectorMath<,,>).MakeGenericType(floats, integers, lanes),
            typeof(VectorRandom<,,>).MakeGenericType(floats, integers, lanes), memory, typeof(ScalarMath),
        ];
        Iota = Expression.Property(null, lanes, nameof(Lanes128.Iota));
    }

    /// <summary>The type of a vector of float32.</summary>
    public Type Floats { get; }

    /// <summary>The type of a vector of int32, and of a mask.</summary>
    public Type Integers { get; }

    /// <summary>Lanes of a vector.</summary>
    public int Lanes { get; }

    /// <summary>0, 1, 2, …</summary>
    public Expression Iota { get; }

    public static KernelFunctions For(CpuIsa isa) => isa switch
    {
        CpuIsa.Avx512 => new(typeof(Vector512<float>), typeof(Vector512<int>), typeof(Lanes512)),
        CpuIsa.Avx2 => new(typeof(Vector256<float>), typeof(Vector256<int>), typeof(Lanes256)),
        _ => new(typeof(Vector128<float>), typeof(Vector128<int>), typeof(Lanes128)),
    };

    /// <summary>Whether a value has one element a lane.</summary>
    public bool IsVector(Expression value) => value.Type == Floats || value.Type == Integers;

    /// <summary>The function of that name for these types of arguments, vectors or scalars.</summary>
    public Expression Call(string name, params Expression[] arguments)
    {
        Type[] types = Array.ConvertAll(arguments, a => a.Type);
        foreach (Type owner in owners)
            if (owner.GetMethod(name, types) is { } method)
                return Expression.Call(method, arguments);
        throw new InvalidOperationException($"no {name} takes {string.Join<Type>(", ", types)}");
    }

    /// <summary>A function of <see cref="VectorMemory{F,I,L}"/> for elements of a type; integers have their own.</summary>
    public Expression Memory(string name, ScalarType type, params Expression[] arguments)
    {
        if (type == ScalarType.I32)
            return Call(IntegerName(name), arguments);
        MethodInfo method = memory.GetMethod(name)!.MakeGenericMethod(Element(type));
        return Expression.Call(method, arguments);
    }

    /// <summary>Reads one element: float32, or a 64-bit integer.</summary>
    public static Expression Read(ScalarType type, Expression address) => type == ScalarType.I32
        ? Expression.Call(typeof(ScalarMath), nameof(ScalarMath.LoadInteger), null, address)
        : Expression.Call(Element(type).GetMethod(nameof(IFloatElement.Read), 0, [typeof(long)])!, address);

    /// <summary>Writes one element.</summary>
    public static Expression Write(ScalarType type, Expression address, Expression value) => type == ScalarType.I32
        ? Expression.Call(typeof(ScalarMath), nameof(ScalarMath.StoreInteger), null, address, value)
        : Expression.Call(Element(type).GetMethod(nameof(IFloatElement.Write), 0, [typeof(long), typeof(float)])!, address, value);

    /// <summary>The same value in every lane; a condition becomes a mask, a 64-bit integer keeps its lower half.</summary>
    public Expression Broadcast(Expression scalar)
    {
        if (scalar.Type == typeof(bool))
            scalar = Expression.Condition(scalar, Expression.Constant(-1), Expression.Constant(0));
        else if (scalar is ConstantExpression { Value: long value })
            scalar = Expression.Constant((int)value);
        else if (scalar.Type == typeof(long))
            scalar = Expression.Convert(scalar, typeof(int));
        return Call(nameof(Lanes128.Of), scalar);
    }

    private static string IntegerName(string name) => name switch
    {
        "Load" => "LoadIntegers",
        "Store" => "StoreIntegers",
        "LoadWhere" => "LoadIntegersWhere",
        "StoreWhere" => "StoreIntegersWhere",
        "Gather" => "GatherIntegers",
        _ => "ScatterIntegers",
    };

    private static Type Element(ScalarType type) => type switch
    {
        ScalarType.F32 => typeof(Float32Element),
        ScalarType.BF16 => typeof(BFloat16Element),
        ScalarType.F16 => typeof(Float16Element),
        _ => throw new ArgumentOutOfRangeException(nameof(type), type, "no type of floats"),
    };
}
