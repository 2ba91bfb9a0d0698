/// The memory that plans take, held against what the machine has: before anything is allocated.
module Legato.Cli.MemoryNeed

open System
open System.Collections.Generic
open System.Threading.Tasks
open Legato.Runtime
open Legato.Runtime.Cuda
open Legato.Runtime.Devices
open Legato.Runtime.Plans

/// Bytes.
type Need = {
    /// Parameters, moments, caches and constants: once for all plans.
    Persistent: int64
    /// The plans' arenas together.
    Arenas: int64
    /// What the plans' steps take beside them.
    Working: int64
    /// The largest buffers, by name.
    Largest: (string * int64) list
} with

    member need.Bytes = need.Persistent + need.Arenas + need.Working

let private named = 4

/// What plans of one model take together on a device.
let ofPlans (device: IDevice) (plans: Plan list) : Need =
    let foretell plan () = fst (DeviceChoice.foretell device plan)

    // A GPU's launches are worked out, which takes a while.
    let working =
        match device with
        | :? CudaDevice -> plans |> List.map (fun plan -> Task.Run(foretell plan))
        | _ -> plans |> List.map (fun plan -> Task.FromResult(foretell plan ()))

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
        Working = working |> List.sumBy _.GetAwaiter().GetResult()
        Largest = largest
    }

/// Bytes of the machine, or of its container where that has less, that this process may still take.
let ofMachine () =
    let container = GC.GetGCMemoryInfo()
    min (Machine.memory ()).Available (container.TotalAvailableMemoryBytes - Environment.WorkingSet)

/// Bytes that this process may still take: the GPU's, or the machine's, or its container's where that has less.
let available (device: IDevice) =
    match device with
    | :? CudaDevice as gpu -> gpu.BytesFree
    | _ -> ofMachine ()

/// A switch that takes less the smaller its number is.
type Smaller = {
    /// The switch, with a number.
    Switch: int -> string
    /// What would be needed then.
    Need: int -> Need
    /// The largest number that is less than what was asked for.
    Most: int
}

/// The largest number up to `most` that holds, if any: where one holds, all smaller ones do.
let largestThat holds most =
    let rec between holding failing =
        if failing - holding <= 1 then
            holding
        else
            let middle = holding + (failing - holding) / 2
            if holds middle then between middle failing else between holding middle

    if most < 1 then None
    elif holds most then Some most
    elif not (holds 1) then None
    else Some(between 1 most)

let private largest available (smaller: Smaller) =
    largestThat (fun n -> (smaller.Need n).Bytes <= available) smaller.Most

/// Refuses what doesn't fit. `smaller` are switches to use instead, the least loss first.
/// <exception cref="TooLargeException">It doesn't fit; the largest buffers are named, and the first switch that helps.</exception>
let require where (available: int64) (smaller: Smaller seq) (need: Need) =
    if need.Bytes > available then
        let buffers =
            need.Largest |> List.map (fun (name, bytes) -> $"{name} {Units.bytes bytes}") |> String.concat ", "

        let remedy =
            match smaller |> Seq.tryPick (fun way -> largest available way |> Option.map way.Switch) with
            | Some switch -> $"{switch} would fit"
            | None -> "choose a smaller model, or a machine with more memory"

        raise (
            TooLargeException(
                $"this takes {Units.bytes need.Bytes} of memory, and {Units.bytes available} are free; the largest: {buffers}",
                where,
                remedy
            )
        )

/// Refuses plans that a device has no room for, in words that the caller completes: it knows the place and how to ask for less.
let requireRoom (device: IDevice) (plans: Plan list) = ofPlans device plans |> require null (available device) Seq.empty
