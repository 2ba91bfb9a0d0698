using Legato.Runtime.Plans;

namespace Legato.Runtime.Interpreter;

/// <summary>A <see cref="HeadTensor"/> with its strides evaluated.</summary>
internal readonly struct HeadView(InterpreterExecutable executable, HeadTensor tensor)
{
    private readonly ElementView view = executable.View(tensor.View);
    private readonly long batch = executable.Size(tensor.BatchStride);
    private readonly long position = executable.Size(tensor.PositionStride);
    private readonly long head = executable.Size(tensor.HeadStride);

    /// <summary>Element <paramref name="d"/> of head <paramref name="h"/> at position <paramref name="s"/> of row <paramref name="b"/>.</summary>
    public double this[long b, long s, long h, long d] => view.Float(Offset(b, s, h, d));

    public void Store(long b, long s, long h, long d, double value) => view.Store(Offset(b, s, h, d), value);

    private long Offset(long b, long s, long h, long d) => b * batch + s * position + h * head + d;
}
