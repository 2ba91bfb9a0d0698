/// The memory that plans take, held against what the machine has: before anything is allocated.
module Legato.Cli.MemoryNeed

open System
open System.Collections.Generic
open Legato.Runtime
open Legato.Runtime.Cuda
open Legato.Runtime.Plans

/// Bytes.
type Need = {
    /// Parameters, moments, caches and constants: once for all plans.
    Persistent: int64
    /// The plans' arenas together.
    Arenas: int64
    /// The largest buffers, by name.
    Largest: (string * int64) list
} with

    member need.Bytes = need.Persistent + need.Arenas

let private named = 4

/// What plans of one model take together.
let ofPlans (plans: Plan list) : Need =
    let persistent, temporary = Dictionary<string, int64>(), Dictionary<string, int64>()

    for plan in plans do
        for buffer in plan.Buffers do
            let kind = buffer.Class.ToString().ToLowerInvariant()
            let home = if buffer.IsPersistent then persistent else temporary
            home[$"{kind} {buffer.Name}"] <- plan.Maximum buffer.Bytes

    let largest =
        Seq.append persistent temporary
        |> Seq.map (fun pair -> pair.Key, pair.Value)
        |> Seq.sortByDescending snd
        |> Seq.truncate named
        |> List.ofSeq

    {
        Persistent = Seq.sum persistent.Values
        Arenas = plans |> List.sumBy _.ArenaBytes
        Largest = largest
    }

let private ofMachine () =
    let container = GC.GetGCMemoryInfo()
    min (Machine.memory ()).Available (container.TotalAvailableMemoryBytes - Environment.WorkingSet)

/// Bytes that this process may still take: the GPU's, or the machine's, or its container's where that has less.
let available (device: Device) =
    match device with
    | Device.Cuda -> CudaMachine.BytesFree 0
    | Device.Cpu
    | Device.Interpreter -> ofMachine ()

/// Refuses what doesn't fit. `smaller` are switches to use instead, the least loss first, and what would be needed then.
/// <exception cref="LegatoException">It doesn't fit; the largest buffers are named, and the first switch that helps.</exception>
let require where (available: int64) (smaller: (string * (unit -> Need)) seq) (need: Need) =
    if need.Bytes > available then
        let largest =
            need.Largest |> List.map (fun (name, bytes) -> $"{name} {Units.bytes bytes}") |> String.concat ", "

        let remedy =
            if need.Persistent > available then
                None
            else
                smaller |> Seq.tryFind (fun (_, need) -> (need ()).Bytes <= available) |> Option.map fst

        let remedy =
            match remedy with
            | Some switch -> $"{switch} would fit"
            | None -> "choose a smaller model, or a machine with more memory"

        raise (
            LegatoException(
                $"this takes {Units.bytes need.Bytes} of memory, and {Units.bytes available} are free; the largest: {largest}",
                where,
                remedy
            )
        )
