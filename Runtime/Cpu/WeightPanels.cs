using System.Runtime.InteropServices;

namespace Legato.Runtime.Cpu;

/// <summary>
/// How a matrix of weights stored [N, K] lies where products of few rows read it: in panels of 32 rows, each as large as its rows were
/// and in their place, in which 32-bit words of all rows lie side by side, word after word (one element of float32, two of bf16). A
/// product reads its columns in one piece, front to back, which is how memory is fastest, and turns nothing. Rows that fill no panel
/// follow one another.
/// </summary>
/// <param name="RowBytes">Bytes of a row; a whole number of words.</param>
/// <param name="AllRows">How many rows the memory holds.</param>
internal readonly unsafe record struct WeightPanels(nint RowBytes, long AllRows)
{
    /// <summary>Rows of a panel, which are columns of a product; as wide as a panel that products pack.</summary>
    public const int Rows = MatrixProductAvx512.Columns;

    public const int WordBytes = sizeof(float);

    public nint PanelBytes => Rows * RowBytes;

    /// <summary>How many of so many rows lie in panels.</summary>
    public static long InPanels(long rows) => rows / Rows * Rows;

    /// <summary>Whether some rows fill no panel.</summary>
    public bool HasRest => InPanels(AllRows) < AllRows;

    private nint WordsBytes => Rows * WordBytes;

    private long BytesInPanels => InPanels(AllRows) * RowBytes;

    private int Words => (int)(RowBytes / WordBytes);

    /// <summary>Writes what rows hold from a byte on.</summary>
    public void Write(byte* memory, long offset, ReadOnlySpan<byte> source)
    {
        while (source.Length > 0)
        {
            int bytes = Next(offset, source.Length);
            byte* panel = memory + offset / PanelBytes * PanelBytes;
            fixed (byte* from = source)
                if (offset >= BytesInPanels) NativeMemory.Copy(from, memory + offset, (nuint)bytes);
                else if (bytes == PanelBytes) FromRows(from, panel);
                else Move(panel, offset % PanelBytes, from, bytes, writes: true);
            source = source[bytes..];
            offset += bytes;
        }
    }

    /// <summary>Reads what rows hold from a byte on.</summary>
    public void Read(byte* memory, long offset, Span<byte> target)
    {
        while (target.Length > 0)
        {
            int bytes = Next(offset, target.Length);
            byte* panel = memory + offset / PanelBytes * PanelBytes;
            fixed (byte* to = target)
                if (offset >= BytesInPanels) NativeMemory.Copy(memory + offset, to, (nuint)bytes);
                else if (bytes == PanelBytes) ToRows(panel, to);
                else Move(panel, offset % PanelBytes, to, bytes, writes: false);
            target = target[bytes..];
            offset += bytes;
        }
    }

    /// <summary>Lays rows into panels, in their place.</summary>
    public void LayIn(Team team, nint memory) => Turn(team, memory, intoPanels: true);

    /// <summary>Lays panels back into rows.</summary>
    public void LayOut(Team team, nint memory) => Turn(team, memory, intoPanels: false);

    private void Turn(Team team, nint memory, bool intoPanels)
    {
        WeightPanels panels = this;
        nint size = PanelBytes;
        team.Run(worker =>
        {
            void* copy = NativeMemory.AlignedAlloc((nuint)size, 64);
            while (worker.TryClaim((int)(panels.AllRows / Rows), out int item))
            {
                byte* panel = (byte*)memory + item * size;
                NativeMemory.Copy(panel, copy, (nuint)size);
                if (intoPanels) panels.FromRows((byte*)copy, panel);
                else panels.ToRows((byte*)copy, panel);
            }
            NativeMemory.AlignedFree(copy);
        });
    }

    private void FromRows(byte* rows, byte* panel) =>
        MatrixProductPack.Panels(MatrixElement.Float32, rows, RowBytes, WordBytes, Rows, Words, (float*)panel, Rows, Rows, 0);

    private void ToRows(byte* panel, byte* rows) =>
        MatrixProductPack.Panels(MatrixElement.Float32, panel, WordsBytes, WordBytes, Words, Rows, (float*)rows, Words, Words, 0);

    /// <summary>So many bytes that they are a panel, or lie within one.</summary>
    private int Next(long offset, int length) => (int)Math.Min(PanelBytes - offset % PanelBytes, length);

    /// <summary>A part of a panel's rows, a part of a word at a time.</summary>
    private void Move(byte* panel, long offset, byte* bytes, int count, bool writes)
    {
        for (int done = 0, part; done < count; done += part)
        {
            (long row, long at) = Math.DivRem(offset + done, RowBytes);
            int within = (int)(at % WordBytes);
            part = Math.Min(WordBytes - within, count - done);
            byte* place = panel + at / WordBytes * WordsBytes + row * WordBytes + within;
            Buffer.MemoryCopy(writes ? bytes + done : place, writes ? place : bytes + done, part, part);
        }
    }
}
