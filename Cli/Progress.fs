/// Progress on the error stream, so that the standard output stays what a program can read:
/// a bar on a terminal, a line every few seconds elsewhere.
module Legato.Cli.Progress

open System
open System.Diagnostics
open Spectre.Console

/// Tells how many units of the whole are done, and what to say beside it.
type Report = int64 -> string -> unit

let private secondsBetweenLines = 5.0

let private remaining (watch: Stopwatch) (whole: int64) (finished: int64) =
    TimeSpan.FromSeconds(watch.Elapsed.TotalSeconds * float (whole - finished) / float (max 1L finished))

/// What work shows on its way: how far it is, and texts that stay.
[<NoEquality; NoComparison>]
type Display = { Advance: Report; Note: string -> unit }

let private lines title (whole: int64) (work: Display -> 'T) =
    let watch = Stopwatch.StartNew()
    let mutable next = 0.0

    let advance finished said =
        if watch.Elapsed.TotalSeconds >= next || finished = whole then
            next <- watch.Elapsed.TotalSeconds + secondsBetweenLines
            let left = (remaining watch whole finished).ToString @"h\:mm\:ss"
            eprintfn "%s %d/%d  %s  %s left" title finished whole said left

    work { Advance = advance; Note = eprintfn "%s" }

let private bar (title: string) (whole: int64) (work: Display -> 'T) =
    let console = AnsiConsole.Create(AnsiConsoleSettings(Out = AnsiConsoleOutput Console.Error))

    let columns: ProgressColumn[] = [|
        TaskDescriptionColumn(Alignment = Justify.Left)
        ProgressBarColumn()
        PercentageColumn()
        RemainingTimeColumn()
    |]

    console
        .Progress()
        .Columns(columns)
        .Start(fun context ->
            let task = context.AddTask(Markup.Escape title, maxValue = float whole)

            let advance (finished: int64) (said: string) =
                task.Value <- float finished
                task.Description <- Markup.Escape $"{title} {finished}/{whole}  {said}"

            work { Advance = advance; Note = fun text -> console.WriteLine text })

/// Does the work and shows how far it is; `quiet` shows nothing.
let displaying quiet title whole (work: Display -> 'T) =
    if quiet then work { Advance = (fun _ _ -> ()); Note = ignore }
    elif Console.IsErrorRedirected then lines title whole work
    else bar title whole work

/// As `displaying`, for work that has nothing to say beside its progress.
let during quiet title whole (work: Report -> 'T) = displaying quiet title whole (fun display -> work display.Advance)

/// For work in phases whose size needn't be known: a line a second at most.
let phases quiet =
    let watch = Stopwatch.StartNew()
    let mutable next = 1.0

    fun (phase: string) (finished: int64) (whole: int64 option) ->
        if not quiet && watch.Elapsed.TotalSeconds >= next then
            next <- watch.Elapsed.TotalSeconds + 1.0

            match whole with
            | Some whole -> eprintfn "%s %d/%d" phase finished whole
            | None -> eprintfn "%s %d" phase finished
