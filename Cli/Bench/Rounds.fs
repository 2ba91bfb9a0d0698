/// Measures what shares a machine with others: every round takes the machine's own limits and then each subject, so that
/// what disturbs one disturbs the other. What memory bounds is measured in slices, between two of which memory is read: its share
/// is that of the reads just before and after. On a device under known limits subjects take turns, slice by slice.
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
    /// A run's parts, equally many units each, in order.
    Run: (unit -> unit) list
}

/// Over all rounds.
type Spread = { Median: float; Best: float }

/// A subject's speed, in units a second, and as a share of what the machine allows: medians over medians, bests over bests; of
/// memory on the CPU the median of all slices, and the best round's.
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

let private runWhole (subject: Subject) =
    for part in subject.Run do
        part ()

/// Units that are done while at least so many seconds pass, and the seconds.
let private runFor seconds (subject: Subject) =
    let watch = Stopwatch.StartNew()
    let mutable runs = 0

    while watch.Elapsed.TotalSeconds < seconds do
        runWhole subject
        runs <- runs + 1

    float runs * subject.Units, watch.Elapsed.TotalSeconds

/// Runs whose first touches memory and compiles, and after which what has run often is compiled again, for speed.
let private warmUp (subject: Subject) =
    runWhole subject
    runFor leastSeconds subject |> ignore

/// What a round found of a subject: units a second, and of each slice its share of the reads around it.
type private Round = { Rate: float; Shares: float list }

let private readSlice = TimeSpan.FromMilliseconds 50.0

/// Each part of a run between two slices of reads.
let private inSlices (reads: MachineLimitsBandwidth) (bytes: float) (subject: Subject) =
    let units = subject.Units / float subject.Run.Length
    let mutable before, seconds, shares = reads.Rate readSlice, 0.0, []

    for part in subject.Run do
        let watch = Stopwatch.StartNew()
        part ()
        let taken = watch.Elapsed.TotalSeconds
        let after = reads.Rate readSlice
        shares <- bytes * units / taken / ((before + after) / 2.0) :: shares
        seconds <- seconds + taken
        before <- after

    { Rate = subject.Units / seconds; Shares = shares }

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

let private figure (limits: Limits) (subject: Subject) (rounds: Round list) =
    let perSecond = rounds |> List.map _.Rate |> spread
    let times (each: float) = { Median = each * perSecond.Median; Best = each * perSecond.Best }

    let unit, work, limit =
        match subject.Bound with
        | Bound.Arithmetic flops -> "FLOP", Some(times flops), limits.Flops
        | Bound.Reading bytes -> "B", Some(times bytes), limits.Read
        | Bound.None -> "", None, limits.Flops

    let share =
        if rounds |> List.forall _.Shares.IsEmpty then
            work |> Option.map (fun work -> combine (/) work limit)
        else
            Some {
                Median = (rounds |> List.collect _.Shares |> spread).Median
                Best = rounds |> List.map (fun round -> (spread round.Shares).Median) |> List.max
            }

    {
        Name = subject.Name
        Unit = subject.Unit
        PerSecond = perSecond
        WorkUnit = unit
        Work = work
        Share = share
    }

let private rate (units, seconds) = { Rate = units / seconds; Shares = [] }

/// Long enough that a card's clock follows the power that a subject draws.
let private turnSeconds = 0.1

/// Subjects in turn, each turn in another order, so that each finds the card as any of the others leaves it, warm and its clock low: a
/// subject between the same two every time would be measured at the clock that those leave.
let private inTurns (random: Random) (subjects: Subject list) =
    let subjects = Array.ofList subjects
    let order = Array.init subjects.Length id

    let rec takeTurns soFar =
        if soFar |> Array.forall (fun (_, seconds) -> seconds >= leastSeconds) then
            soFar |> Array.map rate |> List.ofArray
        else
            random.Shuffle order
            let turn = Array.zeroCreate subjects.Length

            for place in order do
                turn[place] <- runFor turnSeconds subjects[place]

            Array.map2 (fun (units, seconds) (more, longer) -> units + more, seconds + longer) soFar turn
            |> takeTurns

    subjects |> Array.map (fun _ -> 0.0, 0.0) |> takeTurns

/// Each subject is warmed up before anything is measured.
let measure (threads: int option) (rounds: int) (subjects: Subject list) : Limits * Figure list =
    use team = new Team(TeamOptions(threads |> Option.defaultValue 0))
    subjects |> List.iter warmUp

    let round subject =
        match subject.Bound with
        | Bound.Reading bytes ->
            use reads = new MachineLimitsBandwidth(team)
            inSlices reads bytes subject
        | _ -> runFor leastSeconds subject |> rate

    let all = [ for _ in 1..rounds -> MachineLimits.Measure team, subjects |> List.map round ]
    let limits = all |> List.map fst |> limitsOf
    let rates = all |> List.map snd |> List.transpose
    limits, List.map2 (figure limits) subjects rates

/// The same under limits that are known.
let measureUnder (limits: Limits) (rounds: int) (subjects: Subject list) : Limits * Figure list =
    subjects |> List.iter warmUp

    let random = Random 1
    let rates = [ for _ in 1..rounds -> inTurns random subjects ] |> List.transpose

    limits, List.map2 (figure limits) subjects rates
