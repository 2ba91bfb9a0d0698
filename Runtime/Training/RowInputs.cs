using System.Runtime.InteropServices;
using Legato.Runtime.Data;
using Legato.Runtime.Devices;
using Legato.Runtime.Plans;

namespace Legato.Runtime.Training;

/// <summary>The inputs of a training or evaluation plan that hold rows of data.</summary>
internal sealed class RowInputs
{
    private readonly (IDeviceMemory Memory, long Bytes, Func<RowBatch, int[]> Rows)[] inputs;

    public RowInputs(IExecutable executable)
    {
        (string Name, Func<RowBatch, int[]> Rows)[] all =
        [
            ("tokens", batch => batch.Tokens),
            ("labels", batch => batch.Labels),
            ("starts", batch => batch.Starts),
            ("source", batch => batch.Source),
            ("source_lengths", batch => batch.SourceLengths),
        ];
        // A plan without a use for an input leaves it out.
        inputs =
        [
            .. from input in all
               from buffer in executable.Plan.Buffers
               where buffer.Class == BufferClass.Input && buffer.Name == input.Name
               select (executable.Memory(buffer), executable.Plan.Maximum(buffer.Bytes), input.Rows),
        ];
    }

    public void Write(RowBatch batch)
    {
        foreach ((IDeviceMemory memory, long size, Func<RowBatch, int[]> rows) in inputs)
        {
            ReadOnlySpan<byte> bytes = MemoryMarshal.AsBytes(rows(batch).AsSpan());
            if (bytes.Length != size)
                throw new ArgumentException($"the plan reads {size} bytes where the rows have {bytes.Length}", nameof(batch));
            memory.Write(0, bytes);
        }
    }
}
