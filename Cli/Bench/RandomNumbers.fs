/// Numbers that benchmarks compute with: what they are doesn't matter, that they aren't all alike does (it takes a card more power).
module Legato.Cli.RandomNumbers

open System
open System.Runtime.InteropServices
open Legato.Runtime.Checkpoints
open Legato.Runtime.Devices
open Legato.Runtime.Plans

/// A prime: where a row, a tile or an expert begins, no other does, so that no two hold the same numbers in the same places.
let private count = 1_048_573

/// Between -1/2 and 1/2.
let uniform (random: Random) = Array.init count (fun _ -> random.NextSingle() - 0.5f)

/// Normally distributed.
let normal (random: Random) =
    Array.init count (fun _ ->
        float32 (sqrt (-2.0 * log (1.0 - random.NextDouble())) * cos (2.0 * Math.PI * random.NextDouble())))

/// Fills a memory with these numbers over and over.
let fill (numbers: float32[]) (kind: ScalarType) (target: IDeviceMemory) =
    let bytes = Array.zeroCreate<byte>(numbers.Length * kind.Size())
    ElementConversion.Convert(TensorType.F32, MemoryMarshal.AsBytes(ReadOnlySpan numbers), kind, Span bytes)

    for start in 0L .. int64 bytes.Length .. target.Bytes - 1L do
        target.Write(start, ReadOnlySpan(bytes, 0, int (min (int64 bytes.Length) (target.Bytes - start))))
