using Legato.Runtime.Plans;

namespace Legato.Runtime.Interpreter;

/// <summary>
/// A fused kernel, statement by statement. All loops run in order, whatever their kind: that their iterations may run
/// in another order is the compiler's promise, not something to find out here.
/// </summary>
internal sealed class KernelStep
{
    private readonly Kernel kernel;
    private readonly Evaluator evaluator;
    private readonly Dictionary<string, Reduction> accumulators = [];

    private KernelStep(Kernel kernel, Evaluator evaluator) => (this.kernel, this.evaluator) = (kernel, evaluator);

    public static void Execute(
        InterpreterExecutable executable, Kernel kernel, IReadOnlyList<BufferView> operands, ReadOnlySpan<long> arguments)
    {
        if (operands.Count != kernel.Operands.Count || arguments.Length != kernel.Arguments.Count)
            throw new InvalidOperationException($"kernel {kernel.Name} is called with {operands.Count} operands and {arguments.Length} arguments");
        var evaluator = new Evaluator(executable, operands);
        for (int i = 0; i < arguments.Length; i++)
            evaluator.Variables[kernel.Arguments[i]] = arguments[i];
        new KernelStep(kernel, evaluator).Execute(kernel.Body);
    }

    private void Execute(IReadOnlyList<Statement> body)
    {
        foreach (Statement statement in body)
            Execute(statement);
    }

    private void Execute(Statement statement)
    {
        switch (statement)
        {
            case Statement.Loop loop:
                ExecuteLoop(loop);
                break;
            case Statement.Let let:
                evaluator.Variables[let.Name] = evaluator.Evaluate(let.Value);
                break;
            case Statement.Accumulator accumulator:
                accumulators[accumulator.Name] = accumulator.Reduction;
                evaluator.Variables[accumulator.Name] = accumulator.Reduction == Reduction.Sum ? 0 : double.NegativeInfinity;
                break;
            case Statement.Accumulate accumulate:
                double old = evaluator.Variables[accumulate.Name].Float, value = evaluator.Evaluate(accumulate.Value).Float;
                evaluator.Variables[accumulate.Name] = accumulators[accumulate.Name] == Reduction.Sum ? old + value : Math.Max(old, value);
                break;
            case Statement.Store store:
                if (kernel.Operands[store.Operand].Access == Access.Read)
                    throw new InvalidOperationException($"kernel {kernel.Name} writes its read-only operand {store.Operand}");
                evaluator.Store(store.Operand, store.At, evaluator.Evaluate(store.Value));
                break;
        }
    }

    private void ExecuteLoop(Statement.Loop loop)
    {
        long from = evaluator.Evaluate(loop.From).Integer, to = evaluator.Evaluate(loop.To).Integer;
        for (long i = from; i < to; i++)
        {
            evaluator.Variables[loop.Variable] = i;
            Execute(loop.Body);
        }
    }
}
