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

let private isIn (folder: string) (place: string) =
    not (isNull place) && place.StartsWith(folder + string Path.DirectorySeparatorChar)

/// Says of a mistake in the newest checkpoint's files how the run goes on from the one before.
let tellingWhole place (work: unit -> 'T) =
    match place with
    | New _ -> work ()
    | Resumed run ->
        try
            work ()
        with :? LegatoException as mistake when not (isNull run.Latest) && isIn run.Latest mistake.Where ->
            let otherwise =
                match run.WholeBeforeLatest() with
                | null -> "the run has no whole checkpoint before it"
                | whole -> $"or write {Path.GetFileName whole}, which is whole, into {run.LatestFile} and resume again"

            let remedy = mistake.Remedy |> Option.ofObj |> Option.toList |> fun own -> own @ [ otherwise ]
            raise (LegatoException(mistake.What, mistake.Where, String.concat "; " remedy, mistake))

/// Whether a run has taken a step, which its metrics tell of.
let private hasBegun (run: RunFolder) = File.Exists run.MetricsFile && FileInfo(run.MetricsFile).Length > 0L

/// Removes what a run that never began has made, and nothing else that lies in its folder. The caller holds the run's lock.
let private withdraw place (run: RunFolder) =
    match place with
    | New folder when isNull run.Latest && not (hasBegun run) ->
        AtomicWrite.TryRemove(fun () ->
            File.Delete(Runs.settingsFile folder)
            File.Delete(TrainData.tokensFile folder)
            File.Delete run.MetricsFile
            Directory.Delete(Path.Combine(folder, "checkpoints")))
    | _ -> ()

let private openRun place =
    match place with
    | Resumed run -> run
    | New folder -> RunFolder.Create folder

/// Works in the run's folder, which nobody else has meanwhile; folders that were made for it and are empty afterwards go.
let inRun place (work: RunFolder -> 'T) =
    let made =
        match place with
        | Resumed _ -> []
        | New folder -> List.ofSeq (AtomicWrite.Missing folder)

    try
        let run = openRun place
        use _ = run.Lock()

        for file in [ Runs.settingsFile run.Path; TrainData.tokensFile run.Path ] do
            AtomicWrite.RemoveUnfinishedFile file

        try
            work run
        with _ ->
            withdraw place run
            reraise ()
    finally
        AtomicWrite.RemoveEmpty made

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
