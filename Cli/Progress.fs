/// Progress on the error stream, so that the standard output stays what a program can read:
/// a bar on a terminal, a line every few seconds elsewhere.
module Legato.Cli.Progress

open System
open System.Diagnostics
open Spectre.Console

/// Tells how many units of the whole are done, and what to say beside it.
type Report = int64 -> string -> unit

let private secondsBetweenLines = 5.0

/// Hours, which may be many, minutes and seconds.
let clock (seconds: float) =
    let whole = int64 (min seconds 1e15)
    $"{whole / 3600L}:{whole / 60L % 60L:D2}:{whole % 60L:D2}"

/// How far the work is and how long the rest takes at the speed so far, of which what was done before tells nothing.
let private told title (first: int64) (whole: int64) (watch: Stopwatch) (finished: int64) (said: string) =
    let rest = watch.Elapsed.TotalSeconds * float (whole - finished) / float (max 1L (finished - first))
    $"{title} {finished}/{whole}  {said}  {clock rest} left"

/// What work shows on its way: how far it is, and texts that stay.
[<NoEquality; NoComparison>]
type Display = { Advance: Report; Note: string -> unit }

let private lines title first (whole: int64) (work: Display -> 'T) =
    let watch = Stopwatch.StartNew()
    let mutable next = 0.0

    let advance finished said =
        if watch.Elapsed.TotalSeconds >= next || finished = whole then
            next <- watch.Elapsed.TotalSeconds + secondsBetweenLines
            eprintfn "%s" (told title first whole watch finished said)

    work { Advance = advance; Note = eprintfn "%s" }

let private bar (title: string) (first: int64) (whole: int64) (work: Display -> 'T) =
    let watch = Stopwatch.StartNew()
    let console = AnsiConsole.Create(AnsiConsoleSettings(Out = AnsiConsoleOutput Console.Error))

    let columns: ProgressColumn[] = [|
        TaskDescriptionColumn(Alignment = Justify.Left)
        ProgressBarColumn()
        PercentageColumn()
    |]

    console
        .Progress()
        .Columns(columns)
        .Start(fun context ->
            let task = context.AddTask(Markup.Escape title, maxValue = float whole)
            task.Value <- float first

            let advance (finished: int64) (said: string) =
                task.Value <- float finished
                task.Description <- Markup.Escape(told title first whole watch finished said)

            work { Advance = advance; Note = fun text -> console.WriteLine text })

/// Does the work and shows how far it is of the whole, `first` of which was done before; `quiet` shows nothing.
let displaying quiet title first whole (work: Display -> 'T) =
    if quiet then work { Advance = (fun _ _ -> ()); Note = ignore }
    elif Console.IsErrorRedirected then lines title first whole work
    else bar title first whole work

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
