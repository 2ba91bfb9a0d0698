/// Measures what shares a machine with others: every round takes the machine's own limits and then each subject, so that
/// what disturbs one disturbs the other.
module Legato.Cli.Rounds

open System
open System.Diagnostics
open Legato.Runtime.Cpu

/// What a subject's speed can't exceed.
[<RequireQualifiedAccess>]
type Bound =
    /// float32 operations a unit.
    | Arithmetic of flops: float
    /// Bytes read a unit.
    | Reading of bytes: float
    | None

/// Something whose speed is measured.
type Subject = {
    Name: string
    /// What is counted, such as tokens.
    Unit: string
    /// How many of them one run does.
    Units: float
    Bound: Bound
    Run: unit -> unit
}

/// Over all rounds.
type Spread = { Median: float; Best: float }

/// A subject's speed, in units a second, and as a share of what the machine allows: medians over medians, bests over bests.
type Figure = {
    Name: string
    Unit: string
    PerSecond: Spread
    /// FLOP or B, whichever bounds the subject.
    WorkUnit: string
    /// Those a second, where one of them bounds the subject.
    Work: Spread option
    Share: Spread option
}

/// The machine's limits over all rounds: operations and bytes a second.
type Limits = {
    Processor: string
    Threads: int
    Instructions: string
    FlopsOneThread: Spread
    Flops: Spread
    ReadOneThread: Spread
    Read: Spread
    /// The best of each; None where the limits weren't measured.
    Best: MachineLimits option
}

let private spread (values: float list) =
    let sorted = List.sort values
    let middle = sorted.Length / 2

    {
        Median = (sorted[middle] + sorted[(sorted.Length - 1) / 2]) / 2.0
        Best = List.last sorted
    }

let private combine operation (a: Spread) (b: Spread) = {
    Median = operation a.Median b.Median
    Best = operation a.Best b.Best
}

/// A run shorter than this is repeated.
let private leastSeconds = 0.3

let private rateOf (subject: Subject) =
    let watch = Stopwatch.StartNew()
    let mutable runs = 0

    while watch.Elapsed.TotalSeconds < leastSeconds do
        subject.Run()
        runs <- runs + 1

    float runs * subject.Units / watch.Elapsed.TotalSeconds

let private limitsOf (measured: MachineLimits list) =
    let first = List.head measured
    let over choose = measured |> List.map choose |> spread
    let flopsOne, flops = over _.FlopsOneThread, over _.FlopsAllThreads
    let readOne, read = over _.ReadBytesOneThread, over _.ReadBytesAllThreads

    {
        Processor = first.Processor
        Threads = first.Threads
        Instructions = first.Isa.ToString().ToLowerInvariant()
        FlopsOneThread = flopsOne
        Flops = flops
        ReadOneThread = readOne
        Read = read
        Best =
            Some(
                MachineLimits(
                    first.Processor,
                    first.Cores,
                    first.Threads,
                    first.Isa,
                    flopsOne.Best,
                    flops.Best,
                    readOne.Best,
                    read.Best
                )
            )
    }

let private figure (limits: Limits) (subject: Subject) rates =
    let perSecond = spread rates
    let times (each: float) = { Median = each * perSecond.Median; Best = each * perSecond.Best }

    let unit, work, limit =
        match subject.Bound with
        | Bound.Arithmetic flops -> "FLOP", Some(times flops), limits.Flops
        | Bound.Reading bytes -> "B", Some(times bytes), limits.Read
        | Bound.None -> "", None, limits.Flops

    {
        Name = subject.Name
        Unit = subject.Unit
        PerSecond = perSecond
        WorkUnit = unit
        Work = work
        Share = work |> Option.map (fun work -> combine (/) work limit)
    }

/// Each subject runs once before anything is measured, so that code is compiled and memory is there.
let measure (threads: int option) (rounds: int) (subjects: Subject list) : Limits * Figure list =
    use team = new Team(TeamOptions(threads |> Option.defaultValue 0))

    for subject in subjects do
        subject.Run()

    let all = [ for _ in 1..rounds -> MachineLimits.Measure team, subjects |> List.map rateOf ]
    let limits = all |> List.map fst |> limitsOf
    let rates = all |> List.map snd |> List.transpose
    limits, List.map2 (figure limits) subjects rates

/// The same under limits that are known.
let measureUnder (limits: Limits) (rounds: int) (subjects: Subject list) : Limits * Figure list =
    for subject in subjects do
        subject.Run()

    let rates = [ for _ in 1..rounds -> subjects |> List.map rateOf ] |> List.transpose
    limits, List.map2 (figure limits) subjects rates
