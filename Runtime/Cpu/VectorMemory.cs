using System.Runtime.CompilerServices;

namespace Legato.Runtime.Cpu;

/// <summary>Vectors that lie in memory in another way than side by side, and vectors of which only some lanes may be touched.</summary>
internal static unsafe class VectorMemory<F, I, L>
    where F : struct
    where I : struct
    where L : struct, ILanes<F, I>
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static F Load<E>(long address)
        where E : IFloatElement => E.Read<F, I, L>(address);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Store<E>(long address, F value)
        where E : IFloatElement => E.Write<F, I, L>(address, value);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static F LoadWhere<E>(long address, I mask)
        where E : IFloatElement => typeof(E) == typeof(Float32Element) ? L.LoadWhere(address, mask) : LoadEach<E>(address, mask);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void StoreWhere<E>(long address, F value, I mask)
        where E : IFloatElement
    {
        if (typeof(E) == typeof(Float32Element))
            L.StoreWhere(address, value, mask);
        else
            StoreEach<E>(address, value, mask);
    }

    public static F LoadEach<E>(long address, I mask)
        where E : IFloatElement => Gather<E>(address, L.Iota, E.Size, mask);

    public static void StoreEach<E>(long address, F value, I mask)
        where E : IFloatElement => Scatter<E>(address, L.Iota, E.Size, value, mask);

    /// <summary>Lane i is read at address + index[i] · stride bytes where the mask is set, and 0 elsewhere.</summary>
    [MethodImpl(MethodImplOptions.NoInlining | MethodImplOptions.AggressiveOptimization)]
    public static F Gather<E>(long address, I index, long stride, I mask)
        where E : IFloatElement
    {
        F result = default;
        for (int lane = 0; lane < L.Count; lane++)
            if (Integer(ref mask, lane) != 0)
                Unsafe.Add(ref Unsafe.As<F, float>(ref result), lane) = E.Read(address + Integer(ref index, lane) * stride);
        return result;
    }

    /// <summary>Lane i is written to address + index[i] · stride bytes where the mask is set, in the order of the lanes.</summary>
    [MethodImpl(MethodImplOptions.NoInlining | MethodImplOptions.AggressiveOptimization)]
    public static void Scatter<E>(long address, I index, long stride, F value, I mask)
        where E : IFloatElement
    {
        for (int lane = 0; lane < L.Count; lane++)
            if (Integer(ref mask, lane) != 0)
                E.Write(address + Integer(ref index, lane) * stride, Unsafe.Add(ref Unsafe.As<F, float>(ref value), lane));
    }

    public static I LoadIntegersWhere(long address, I mask) => L.AsIntegers(L.LoadWhere(address, mask));

    public static void StoreIntegersWhere(long address, I value, I mask) => L.StoreWhere(address, L.AsFloats(value), mask);

    [MethodImpl(MethodImplOptions.NoInlining | MethodImplOptions.AggressiveOptimization)]
    public static I GatherIntegers(long address, I index, long stride, I mask)
    {
        I result = default;
        for (int lane = 0; lane < L.Count; lane++)
            if (Integer(ref mask, lane) != 0)
                Integer(ref result, lane) = *(int*)(address + Integer(ref index, lane) * stride);
        return result;
    }

    [MethodImpl(MethodImplOptions.NoInlining | MethodImplOptions.AggressiveOptimization)]
    public static void ScatterIntegers(long address, I index, long stride, I value, I mask)
    {
        for (int lane = 0; lane < L.Count; lane++)
            if (Integer(ref mask, lane) != 0)
                *(int*)(address + Integer(ref index, lane) * stride) = Integer(ref value, lane);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static ref int Integer(ref I lanes, int lane) => ref Unsafe.Add(ref Unsafe.As<I, int>(ref lanes), lane);
}
