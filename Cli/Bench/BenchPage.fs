/// What a suite of `legato bench` found, as a page and as a document.
module Legato.Cli.BenchPage

open Legato.Cli.Bench
open Legato.Runtime

/// What a suite found, beside its sizes.
type Outcome = {
    Sizes: (string * string) list
    Limits: Rounds.Limits
    Figures: Rounds.Figure list
    /// Of the one figure, by the plan alone, and where the device's speed comes from.
    Predicted: (float * string) option
    Memory: BenchModel.Memory option
}

let private limitRows (limits: Rounds.Limits) =
    let row name unit (spread: Rounds.Spread) = [ name; Units.rate spread.Median + unit; Units.rate spread.Best + unit ]

    [
        row "multiply-adds, one thread" "FLOP/s" limits.FlopsOneThread
        row $"multiply-adds, {Units.threads limits.Threads}" "FLOP/s" limits.Flops
        row "reads, one thread" "B/s" limits.ReadOneThread
        row $"reads, {Units.threads limits.Threads}" "B/s" limits.Read
    ]

/// Of the reads that were measured beside it a subject has no such share, but for what it finds in the caches.
let private mostShare = 1.1

/// A figure's share of what the machine allows, as a person reads it.
let shareOf (figure: Rounds.Figure) (choose: Rounds.Spread -> float) =
    match figure.Share |> Option.map choose with
    | Some share when figure.WorkUnit = "B" && share > mostShare -> "from the cache"
    | Some share -> Units.percent share
    | None -> ""

let private figureRow (figure: Rounds.Figure) =
    let shown (choose: Rounds.Spread -> float) =
        let work =
            figure.Work
            |> Option.map (fun work -> $"{Units.rate (choose work)}{figure.WorkUnit}/s")
            |> Option.defaultValue ""

        [ Units.rate (choose figure.PerSecond) + figure.Unit; work; shareOf figure choose ]

    figure.Name :: shown _.Median @ shown _.Best

/// What a person reads.
let print options (outcome: Outcome) =
    let limits = outcome.Limits

    printfn
        "%s, %s, %s; %s"
        limits.Processor
        (Units.threads limits.Threads)
        limits.Instructions
        (Counted.Of(options.Rounds, "round"))

    for name, value in outcome.Sizes do
        printfn "%s: %s" name value

    printfn ""
    [ "limits, a second"; "median"; "best" ] :: limitRows limits |> Units.table [ 0 ] |> printfn "%s"

    if not outcome.Figures.IsEmpty then
        [ "measured, a second"; "median"; ""; "share"; "best"; ""; "share" ]
        :: List.map figureRow outcome.Figures
        |> Units.table [ 0 ]
        |> printf "%s"

    if limits.Best.IsSome && outcome.Figures |> List.exists (fun figure -> figure.WorkUnit = "B") then
        printfn "shares of reads are of what memory gave just before and after, not of the limits above"

    outcome.Predicted
    |> Option.iter (fun (predicted, origin) ->
        let figure = outcome.Figures.Head
        let ratio = Units.percent (figure.PerSecond.Median / predicted)
        printfn "\nspeed: %s%s a second predicted, %s of it measured" (Units.rate predicted) figure.Unit ratio
        printfn "speed of the machine: %s" origin)

    outcome.Memory
    |> Option.iter (fun memory ->
        let ratio = Units.percent (float memory.Allocated / float memory.Predicted)

        printfn
            "memory: %s predicted, %s allocated (%s)"
            (Units.bytes memory.Predicted)
            (Units.bytes memory.Allocated)
            ratio)

/// What a program reads.
let document options (outcome: Outcome) = {|
    Suite = options.Suite
    Sizes = dict outcome.Sizes
    Rounds = options.Rounds
    Limits = {| outcome.Limits with Best = outcome.Limits.Best |> Option.map string |}
    Figures = outcome.Figures
    Predicted = outcome.Predicted |> Option.map fst
    SpeedOfTheMachine = outcome.Predicted |> Option.map snd
    Memory = outcome.Memory
|}
