/// Where a training run begins: in a new folder, or where another stopped.
module Legato.Cli.TrainPlace

open System.IO
open Legato.Cli.ModelSource
open Legato.Cli.TrainOptions
open Legato.Runtime
open Legato.Runtime.Checkpoints
open Legato.Runtime.Training

/// Where training begins, before anything is read or written.
type Place =
    /// A new run in that folder.
    | New of folder: string
    | Resumed of RunFolder

let place (options: TrainOptions) name =
    let resumed folder = Resumed(RunFolder.Open folder)

    match options.Start, options.Out with
    | Start.Fresh, Some folder -> New folder
    | Start.Fresh, None -> New(Runs.fresh name)
    | Start.From folder, _ -> resumed folder
    | Start.Latest, _ ->
        match Runs.newest () with
        | Some folder -> resumed folder
        | None -> raise (LegatoException("there is no run in runs/", where, "give the run's folder: --resume DIR"))

/// The checkpoint that training goes on from, if any.
let checkpoint place (choice: Choice) =
    match place with
    | New _ -> choice.Folder
    | Resumed run ->
        // Another process may be about to write one, and has the lock.
        if isNull run.Latest then
            run.Lock().Dispose()

        Some(run.RequireLatest())

/// Removes what a run that never began has made, and nothing else that lies in its folder. The caller holds the run's lock.
let private withdraw place (run: RunFolder) =
    match place with
    | New folder when isNull run.Latest && not (File.Exists run.MetricsFile) ->
        File.Delete(Runs.settingsFile folder)
        File.Delete(TrainData.tokensFile folder)
        Directory.Delete(Path.Combine(folder, "checkpoints"))
    | _ -> ()

let private openRun place =
    match place with
    | Resumed run -> run
    | New folder -> RunFolder.Create folder

/// Works in the run's folder, which nobody else has meanwhile; a folder that was made for it and is empty afterwards goes.
let inRun place (work: RunFolder -> 'T) =
    let wasThere =
        match place with
        | Resumed _ -> true
        | New folder -> Directory.Exists folder

    let run = openRun place

    try
        use _ = run.Lock()

        for file in [ Runs.settingsFile run.Path; TrainData.tokensFile run.Path ] do
            AtomicWrite.RemoveUnfinishedFile file

        try
            work run
        with _ ->
            withdraw place run
            reraise ()
    finally
        if not wasThere && Seq.isEmpty (Directory.EnumerateFileSystemEntries run.Path) then
            Directory.Delete run.Path

// A run goes on with the tokenizer that its checkpoint holds.
let tokenizerOf place (options: TrainOptions) =
    match place with
    | New _ -> options
    | Resumed _ -> { options with Tokenizer = TokenizerSource.Own }

let requireStepsLeft place (options: TrainOptions) =
    match place with
    | Resumed run when not (isNull run.Latest) ->
        let taken = TrainingState.Read(run.Latest).Step

        if taken >= int64 options.Steps then
            let what = $"the run is finished: it has taken {taken} steps, and is to take {options.Steps}"
            raise (LegatoException(what, run.Path, "give --steps N with a larger N to go on"))
    | _ -> ()
