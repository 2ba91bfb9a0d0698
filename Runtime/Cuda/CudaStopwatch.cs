namespace Legato.Runtime.Cuda;

/// <summary>Times of stretches of a stream's work, by the GPU's own clock.</summary>
internal sealed class CudaStopwatch : IDisposable
{
    private readonly nint[] starts, ends;

    public CudaStopwatch(int stretches)
    {
        (starts, ends, Seconds) = (new nint[stretches], new nint[stretches], new double[stretches]);
        for (int i = 0; i < stretches; i++)
        {
            CudaError.Check(Driver.EventCreate(out starts[i], 0), "making a clock");
            CudaError.Check(Driver.EventCreate(out ends[i], 0), "making a clock");
        }
    }

    /// <summary>The sums so far.</summary>
    public double[] Seconds { get; }

    public void Start(int stretch, nint stream) => CudaError.Check(Driver.EventRecord(starts[stretch], stream), "starting a clock");

    public void Stop(int stretch, nint stream) => CudaError.Check(Driver.EventRecord(ends[stretch], stream), "stopping a clock");

    /// <summary>Reads the clocks; the stream has finished.</summary>
    public void Add()
    {
        for (int i = 0; i < starts.Length; i++)
            Seconds[i] += Read(i);
    }

    /// <summary>Begins the sums anew.</summary>
    public void Clear() => Array.Clear(Seconds);

    /// <summary>Seconds of one stretch alone.</summary>
    public double Read(int stretch)
    {
        CudaError.Check(Driver.EventElapsedTime(out float milliseconds, starts[stretch], ends[stretch]), "reading a clock");
        return milliseconds * 1e-3;
    }

    public void Dispose()
    {
        foreach (nint handle in starts.Concat(ends))
            _ = Driver.EventDestroy(handle);
    }
}
