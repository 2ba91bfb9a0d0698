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

/// Of fewer units nothing is foretold.
let private telling = 3L

/// How long the rest takes at the speed of the units that were done in these seconds.
let left (units: int64) (seconds: float) (rest: int64) =
    if rest > 0L && units < telling then
        "…"
    else
        clock (seconds * float rest / float (max 1L units))

/// How far the work is and how long the rest takes. The speed is counted from the first unit's end on: it makes things ready.
let private teller title (whole: int64) : int64 -> string -> string =
    let watch = Stopwatch()
    let mutable first = 0L

    fun finished said ->
        if not watch.IsRunning then
            first <- finished
            watch.Start()

        $"{title} {finished}/{whole}  {said}  {left (finished - first) watch.Elapsed.TotalSeconds (whole - finished)} left"

/// What work shows on its way: how far it is, and texts that stay.
[<NoEquality; NoComparison>]
type Display = { Advance: Report; Note: string -> unit }

let private lines title (whole: int64) (work: Display -> 'T) =
    let watch, told = Stopwatch.StartNew(), teller title whole
    let mutable next = 0.0

    let advance finished said =
        let line = told finished said

        if watch.Elapsed.TotalSeconds >= next || finished = whole then
            next <- watch.Elapsed.TotalSeconds + secondsBetweenLines
            eprintfn "%s" line

    work { Advance = advance; Note = eprintfn "%s" }

let private bar (title: string) (first: int64) (whole: int64) (work: Display -> 'T) =
    let told = teller title whole
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
                task.Description <- Markup.Escape(told finished said)

            work { Advance = advance; Note = fun text -> console.WriteLine text })

/// Does the work and shows how far it is of the whole, `first` of which was done before; `quiet` shows nothing.
let displaying quiet title first whole (work: Display -> 'T) =
    if quiet then work { Advance = (fun _ _ -> ()); Note = ignore }
    elif Console.IsErrorRedirected then lines title whole work
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
