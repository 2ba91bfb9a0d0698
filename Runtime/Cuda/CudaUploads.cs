using Legato.Runtime.Devices;

namespace Legato.Runtime.Cuda;

/// <summary>
/// Large writes by several threads at once: each passes through a piece of pinned memory of its own, and a stream of their own takes
/// them to the GPU. What was asked of the GPU before a write is done before it, and what is asked after it waits for it.
/// </summary>
internal sealed unsafe class CudaUploads : IDisposable
{
    /// <summary>A smaller write is done sooner among the GPU's other work.</summary>
    public const int Least = 1 << 18;

    private const int Pieces = 16, Size = 1 << 20;

    private readonly CudaDevice device;
    private readonly SharedPieces<Piece> pieces = new();
    private readonly Lock gate = new();
    private readonly ReleaseStack held = new();
    private readonly nint stream;

    public CudaUploads(CudaDevice device)
    {
        this.device = device;
        device.MakeCurrent();
        try
        {
            CudaError.Check(Driver.StreamCreate(out nint made, Driver.NotBlocking), "making a stream");
            held.Add(() => _ = Driver.StreamDestroy(made));
            stream = made;
            CudaError.Check(Driver.MemAllocHost(out nint address, Pieces * Size), "allocating pinned memory");
            held.Add(() => _ = Driver.MemFreeHost(address));
            for (int i = 0; i < Pieces; i++)
                pieces.Add(new Piece(address + i * Size, Event(), Event()));
        }
        catch
        {
            held.Dispose();
            throw;
        }
    }

    public void Write(nint target, ReadOnlySpan<byte> source)
    {
        device.MakeCurrent();
        for (int start = 0; start < source.Length; start += Size)
            WritePiece(target + start, source.Slice(start, Math.Min(Size, source.Length - start)));
    }

    /// <summary>Does what is to have the GPU for itself: writes by other threads wait until it is done.</summary>
    public T Alone<T>(Func<T> work) => pieces.Alone(work);

    public void Dispose()
    {
        _ = Driver.StreamSynchronize(stream);
        held.Dispose();
        pieces.Dispose();
    }

    private nint Event()
    {
        CudaError.Check(Driver.EventCreate(out nint made, Driver.WithoutTiming), "making an event");
        held.Add(() => _ = Driver.EventDestroy(made));
        return made;
    }

    private void WritePiece(nint target, ReadOnlySpan<byte> source)
    {
        Piece piece = pieces.Take();
        try
        {
            CudaError.Check(Driver.EventSynchronize(piece.After), "copying to the GPU");
            source.CopyTo(new Span<byte>((void*)piece.Address, source.Length));
            lock (gate)
            {
                CudaError.Check(Driver.EventRecord(piece.Before, device.Stream), "recording an event");
                CudaError.Check(Driver.StreamWaitEvent(stream, piece.Before, 0), "waiting for an event");
                CudaError.Check(Driver.CopyToDeviceAsync(target, piece.Address, (nuint)source.Length, stream), "copying to the GPU");
                CudaError.Check(Driver.EventRecord(piece.After, stream), "recording an event");
                CudaError.Check(Driver.StreamWaitEvent(device.Stream, piece.After, 0), "waiting for an event");
            }
        }
        finally
        {
            pieces.Give(piece);
        }
    }

    /// <summary>Pinned memory, the moment from which its last copy could begin, and the one at which it is done.</summary>
    private sealed record Piece(nint Address, nint Before, nint After);
}
