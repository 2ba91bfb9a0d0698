using System.Runtime.InteropServices;
using Legato.Runtime.Devices;

namespace Legato.Runtime.Cpu;

/// <summary>Native memory, zeroed and aligned; or a range of another's.</summary>
internal sealed unsafe class CpuMemory : IDeviceMemory
{
    private const nuint Alignment = 64;

    /// <summary>Larger blocks are aligned to huge pages and ask for them.</summary>
    private const nuint HugePage = 2 << 20;

    private const int AdviseHugePages = 14;

    private readonly CpuDevice? owner;
    private readonly nint block;
    private nint address;
    private bool written, staysInRows;

    /// <summary>An allocation of its own, counted by the device.</summary>
    /// <exception cref="LegatoException">The system has not so much memory.</exception>
    public CpuMemory(CpuDevice owner, long bytes)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(bytes);
        Bytes = bytes;
        this.owner = owner;
        nuint alignment = (nuint)bytes < 2 * HugePage ? Alignment : HugePage;
        block = Allocate((nuint)bytes, alignment);
        address = (block + (nint)alignment - 1) & -(nint)alignment;
        if (alignment == HugePage && OperatingSystem.IsLinux())
            _ = Advise((void*)address, (nuint)bytes, AdviseHugePages);
        owner.Count(bytes);
    }

    private CpuMemory(nint address, long bytes) => (this.address, Bytes) = (address, bytes);

    /// <summary>Stands for memory where only sizes are asked for; nothing lies at its address.</summary>
    public static CpuMemory Unbacked(long bytes) => new((nint)HugePage, bytes);

    public long Bytes { get; }

    /// <summary>How the weights lie that this memory holds; null where their rows follow one another.</summary>
    public WeightPanels? Panels { get; private set; }

    public nint Address => address != 0 ? address : throw new ObjectDisposedException(nameof(CpuMemory));

    /// <summary>A part of this memory; it is freed with the whole.</summary>
    public CpuMemory Slice(long offset, long bytes)
    {
        Check(offset, bytes);
        return new CpuMemory(Address + (nint)offset, bytes);
    }

    public void Write(long offset, ReadOnlySpan<byte> source)
    {
        Check(offset, source.Length);
        written = true;
        if (Panels is { } panels)
            panels.Write((byte*)Address, offset, source);
        else
            source.CopyTo(new Span<byte>((void*)(Address + (nint)offset), source.Length));
    }

    public void Read(long offset, Span<byte> target)
    {
        Check(offset, target.Length);
        if (Panels is { } panels)
            panels.Read((byte*)Address, offset, target);
        else
            new ReadOnlySpan<byte>((void*)(Address + (nint)offset), target.Length).CopyTo(target);
    }

    /// <summary>Lays weights into panels, unless something needs them in rows, or in panels of another kind.</summary>
    public void LayInPanels(WeightPanels panels)
    {
        if (Panels is { } laid && laid != panels)
            LayInRows();
        if (staysInRows || Panels is not null)
            return;
        if (written)
            panels.LayIn(owner!.Team, Address);
        Panels = panels;
    }

    /// <summary>Lays weights back into rows, where they stay: who needs them there will again.</summary>
    public void LayInRows()
    {
        staysInRows = true;
        Panels?.LayOut(owner!.Team, Address);
        Panels = null;
    }

    public void Dispose()
    {
        if (owner is null || address == 0)
            return;
        NativeMemory.Free((void*)block);
        address = 0;
        owner.Count(-Bytes);
    }

    /// <summary>Zeroed by the system page by page as they are first touched, where a block is large.</summary>
    private static nint Allocate(nuint bytes, nuint alignment)
    {
        try
        {
            return (nint)NativeMemory.AllocZeroed(bytes + alignment);
        }
        catch (OutOfMemoryException exception)
        {
            throw new LegatoException($"{bytes} bytes of memory can't be had", remedy: "choose a smaller batch or context", inner: exception);
        }
    }

    private void Check(long offset, long bytes)
    {
        if (offset < 0 || bytes < 0 || offset + bytes > Bytes)
            throw new ArgumentOutOfRangeException(nameof(offset), $"bytes {offset} to {offset + bytes} of a memory of {Bytes}");
    }

    [DllImport("libc", EntryPoint = "madvise")]
    private static extern int Advise(void* address, nuint length, int advice);
}
