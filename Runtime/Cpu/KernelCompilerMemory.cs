using System.Linq.Expressions;
using Legato.Runtime.Plans;

namespace Legato.Runtime.Cpu;

/// <summary>
/// This part: loads and stores. Inside a vector loop an index falls into a part that doesn't vary, whose address is
/// computed before the loop, a multiple of the loop variable, and what varies otherwise (a gather or scatter).
/// </summary>
internal sealed partial class KernelEmitter
{
    private Expression AllLanes => functions.Broadcast(Expression.Constant(-1));

    private Expression EmitLoad(Expr.Load load, KernelScope scope)
    {
        ScalarType type = kernel.Operands[load.Operand].Type;
        if (scope.Lanes is null)
            return KernelFunctions.Read(type, Address(load.Operand, load.At, scope));
        Place place = Locate(load.Operand, load.At, scope);
        if (!place.IsContiguous)
            return functions.Memory("Gather", type, place.Address, place.Index, place.Stride, scope.Mask ?? AllLanes);
        return scope.Mask is { } mask
            ? functions.Memory("LoadWhere", type, place.Address, mask)
            : functions.Memory("Load", type, place.Address);
    }

    private void EmitStore(Statement.Store store, KernelScope scope)
    {
        ScalarType type = kernel.Operands[store.Operand].Type;
        Expression value = Emit(store.Value, scope);
        if (scope.Lanes is null)
        {
            scope.Add(KernelFunctions.Write(type, Address(store.Operand, store.At, scope), value));
            return;
        }
        value = ToLanes(value, scope);
        Place place = Locate(store.Operand, store.At, scope);
        if (!place.IsContiguous)
            scope.Add(functions.Memory("Scatter", type, place.Address, place.Index, place.Stride, value, scope.Mask ?? AllLanes));
        else if (scope.Mask is { } mask)
            scope.Add(functions.Memory("StoreWhere", type, place.Address, value, mask));
        else
            scope.Add(functions.Memory("Store", type, place.Address, value));
    }

    private Place Locate(int operand, Plans.Index at, KernelScope scope)
    {
        KernelLanes lanes = scope.Lanes!;
        var uniform = new List<IndexTerm>();
        var varying = new List<IndexTerm>();
        Extent stride = Extent.Zero;
        foreach (IndexTerm term in at.Terms)
        {
            if (Affine(term.Value, scope) is not var (factor, rest))
                varying.Add(term);
            else
            {
                stride += factor * term.Stride;
                if (rest is not null)
                    uniform.Add(term with { Value = rest });
            }
        }
        int size = kernel.Operands[operand].Type.Size();
        Expression address = UniformAddress(operand, new Plans.Index([.. uniform]), scope);
        if (varying.Count == 0)
        {
            Expression bytes = Multiply(Size(stride), Expression.Constant((long)size));
            address = Add(address, Multiply(lanes.Position, bytes));
            address = Add(address, Multiply(Expression.Constant((long)lanes.Shift), bytes));
            return new Place(address, functions.Iota, bytes, stride.Equals(Extent.One));
        }
        if (!stride.Equals(Extent.Zero))
            varying.Add(new IndexTerm(new Expr.Variable(lanes.Loop.Variable), stride));
        if (varying is [var only])
            return new Place(address, Emit(only.Value, scope), Multiply(Size(only.Stride), Expression.Constant((long)size)), false);
        Expression index = varying
            .Select(t => (Expression)Expression.Multiply(Emit(t.Value, scope), functions.Broadcast(Size(t.Stride))))
            .Aggregate(Expression.Add);
        return new Place(address, index, Expression.Constant((long)size), false);
    }

    /// <summary>
    /// An integer expression as factor · loop variable + rest, the rest the same in all lanes; null if it is none.
    /// </summary>
    private (long Factor, Expr? Offset)? Affine(Expr value, KernelScope scope)
    {
        KernelVectorLoop loop = scope.Lanes!.Loop;
        if (!Varies(value, scope))
            return (0, value);
        switch (value)
        {
            case Expr.Variable variable when variable.Name == loop.Variable:
                return (1, null);
            case Expr.Variable variable when loop.IntegerLets.TryGetValue(variable.Name, out Expr? named):
                return Affine(named, scope);
            case Expr.Apply { Operation: Operation.Add or Operation.Subtract } sum:
                if (Affine(sum.Operands[0], scope) is var (a, x) && Affine(sum.Operands[1], scope) is var (b, y))
                    return (sum.Operation == Operation.Add ? a + b : a - b, Join(sum.Operation, x, y));
                return null;
            case Expr.Apply { Operation: Operation.Multiply, Operands: [Expr.Integer times, var factor] }:
                return Scale(Affine(factor, scope), times);
            case Expr.Apply { Operation: Operation.Multiply, Operands: [var factor, Expr.Integer times] }:
                return Scale(Affine(factor, scope), times);
            default:
                return null;
        }
    }

    private static (long Factor, Expr? Offset)? Scale((long Factor, Expr? Offset)? affine, Expr.Integer times) =>
        affine is var (factor, rest) ? (factor * times.Value, rest is null ? null : new Expr.Apply(Operation.Multiply, rest, times)) : null;

    private static Expr? Join(Operation operation, Expr? x, Expr? y) =>
        y is null ? x : x is not null ? new Expr.Apply(operation, x, y) : operation == Operation.Add ? y : new Expr.Apply(Operation.Negate, y);

    private Expression UniformAddress(int operand, Plans.Index at, KernelScope scope)
    {
        KernelVectorLoop loop = scope.Lanes!.Loop;
        if (!Array.TrueForAll(at.Terms, t => CanHoist(t.Value, scope, loop)))
            return Address(operand, at, scope);
        KernelScope preheader = loop.Preheader;
        return preheader.FindAddress(operand, at)
            ?? preheader.RememberAddress(operand, at, preheader.Bind(Address(operand, at, preheader)));
    }

    /// <summary>The address of an element, all of whose index is scalar.</summary>
    private Expression Address(int operand, Plans.Index at, KernelScope scope)
    {
        Expression size = Expression.Constant((long)kernel.Operands[operand].Type.Size());
        Expression address = operands[operand];
        foreach (IndexTerm term in at.Terms)
            address = Add(address, Multiply(Emit(term.Value, scope), Multiply(Size(term.Stride), size)));
        return address;
    }

    /// <summary>Where the lanes of a vector lie: lane i at Address + Index[i] · Stride bytes.</summary>
    private readonly record struct Place(Expression Address, Expression Index, Expression Stride, bool IsContiguous);
}
