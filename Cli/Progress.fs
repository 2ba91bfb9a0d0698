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

let private lines title (whole: int64) (work: Report -> 'T) =
    let watch = Stopwatch.StartNew()
    let mutable next = 0.0

    work (fun finished said ->
        if watch.Elapsed.TotalSeconds >= next || finished = whole then
            next <- watch.Elapsed.TotalSeconds + secondsBetweenLines
            let left = (remaining watch whole finished).ToString @"h\:mm\:ss"
            eprintfn "%s %d/%d  %s  %s left" title finished whole said left)

let private bar (title: string) (whole: int64) (work: Report -> 'T) =
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

            work (fun finished said ->
                task.Value <- float finished
                task.Description <- Markup.Escape $"{title} {finished}/{whole}  {said}"))

/// Does the work and shows how far it is; `quiet` shows nothing.
let during quiet title whole work =
    if quiet then work (fun _ _ -> ())
    elif Console.IsErrorRedirected then lines title whole work
    else bar title whole work

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
