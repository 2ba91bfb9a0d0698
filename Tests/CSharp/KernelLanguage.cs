using Legato.Runtime.Plans;

namespace Legato.Tests;

/// <summary>Short names to write kernels with.</summary>
internal static class KernelLanguage
{
    public static Expr F(double value) => new Expr.Number(value);

    public static Expr N(long value) => new Expr.Integer(value);

    public static Expr V(string name) => new Expr.Variable(name);

    public static Expr Size(Extent extent) => new Expr.Size(extent);

    public static Expr Op(Operation operation, params Expr[] operands) => new Expr.Apply(operation, operands);

    public static Expr Add(Expr x, Expr y) => Op(Operation.Add, x, y);

    public static Expr Sub(Expr x, Expr y) => Op(Operation.Subtract, x, y);

    public static Expr Mul(Expr x, Expr y) => Op(Operation.Multiply, x, y);

    public static Expr Div(Expr x, Expr y) => Op(Operation.Divide, x, y);

    public static Expr Where(Expr condition, Expr then, Expr otherwise) => Op(Operation.Select, condition, then, otherwise);

    public static Runtime.Plans.Index At(params (Expr Value, Extent Stride)[] terms) => new([.. terms.Select(t => new IndexTerm(t.Value, t.Stride))]);

    public static Runtime.Plans.Index At(string variable) => At((V(variable), 1));

    public static Runtime.Plans.Index At(string row, Extent stride, string column) => At((V(row), stride), (V(column), 1));

    public static Expr Load(int operand, Runtime.Plans.Index at) => new Expr.Load(operand, at);

    public static Statement Store(int operand, Runtime.Plans.Index at, Expr value) => new Statement.Store(operand, at, value);

    public static Statement Let(string name, Expr value) => new Statement.Let(name, value);

    public static Statement Sum(string name) => new Statement.Accumulator(name, Reduction.Sum);

    public static Statement Largest(string name) => new Statement.Accumulator(name, Reduction.Maximum);

    public static Statement Fold(string name, Expr value) => new Statement.Accumulate(name, value);

    public static Statement Grid(string variable, Expr to, params Statement[] body) => Loop(LoopKind.Grid, variable, N(0), to, body);

    public static Statement Serial(string variable, Expr to, params Statement[] body) => Loop(LoopKind.Serial, variable, N(0), to, body);

    public static Statement Vector(string variable, Expr to, params Statement[] body) => Loop(LoopKind.Vector, variable, N(0), to, body);

    public static Statement Loop(LoopKind kind, string variable, Expr from, Expr to, params Statement[] body) =>
        new Statement.Loop(kind, variable, from, to, body);

    public static KernelOperand In(string name, ScalarType type = ScalarType.F32) => new(name, type, Access.Read);

    public static KernelOperand Out(string name, ScalarType type = ScalarType.F32) => new(name, type, Access.Write);

    public static KernelOperand InOut(string name, ScalarType type = ScalarType.F32) => new(name, type, Access.ReadWrite);

    public static Kernel Kernel(IReadOnlyList<KernelOperand> operands, params Statement[] body) => new("kernel", operands, [], body);
}
