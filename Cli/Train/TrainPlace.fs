/// Where a training run begins: in a new folder, or where another stopped.
module Legato.Cli.TrainPlace

open System.IO
open Legato.Cli.ModelSource
open Legato.Cli.TrainOptions
open Legato.Runtime
open Legato.Runtime.Checkpoints
open Legato.Runtime.Text
open Legato.Runtime.Training

/// Where training begins, before anything is read or written.
type Place =
    /// A new run: in the folder that was asked for, or under that name in `runs/`.
    | New of folder: string option * name: string
    | Resumed of RunFolder

let place (options: TrainOptions) name =
    let resumed folder = Resumed(RunFolder.Open folder)

    match options.Start, options.Out with
    | Start.Fresh, folder -> New(folder, name)
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

// Of a checkpoint that lacks a file the folder is told, as it is of one that is whole and another run's.
let private isDamageOf (run: RunFolder) (place: string) =
    run.IsInLatest place
    && (Path.GetFullPath place <> Path.GetFullPath run.Latest || not run.IsLatestWhole)

// A script's model begins with no other weights than its own.
let private withoutFile (options: TrainOptions) (latest: string) (file: string) =
    match Path.GetFileName file with
    | "optimizer.safetensors" when options.Model <> "" ->
        $"; its weights can begin a new run: legato train {latest}, with --data and the other flags, without --resume"
    | "config.json" ->
        "; a run of one step, begun anew with the same MODEL, --set, --tokenizer and --data, writes the same file, to be copied there"
    | _ -> ""

/// Says of a mistake in the newest checkpoint's files how the run goes on from the one before, or what else still works.
let tellingWhole options place (work: unit -> 'T) =
    match place with
    | New _ -> work ()
    | Resumed run ->
        try
            work ()
        with :? LegatoException as mistake when isDamageOf run mistake.Where ->
            let otherwise =
                match run.WholeBeforeLatest() with
                | null -> "the run has no whole checkpoint before it" + withoutFile options run.Latest mistake.Where
                | whole -> $"or write {Path.GetFileName whole}, which is whole, into {run.LatestFile} and resume again"

            let remedy = mistake.Remedy |> Option.ofObj |> Option.toList |> fun own -> own @ [ otherwise ]
            raise (LegatoException(mistake.What, mistake.Where, String.concat "; " remedy, mistake))

/// What this program writes into a run's folder beside the trainer's files.
let private others = [ Runs.settingsFile ""; Runs.tokensFile "" ]

let private withdrawEmpty place (run: RunFolder) =
    match place with
    | New _ when not run.HasBegun -> run.Withdraw others
    | _ -> ()

// Folders that can't be used aren't left behind.
let private making folder (create: string -> 'T) =
    let made = List.ofSeq (AtomicWrite.Missing folder)

    try
        create folder, made
    with _ ->
        AtomicWrite.RemoveEmpty made
        reraise ()

/// The run, which nobody else has until the second is disposed, and the folders that were made for it.
let private openRun place =
    match place with
    | Resumed run -> (run, run.Lock()), []
    | New(Some folder, _) -> making folder (fun folder -> RunFolder.Create(folder, others))
    | New(None, name) ->
        Runs.fresh name
        |> Seq.pick (fun folder ->
            match making folder (fun folder -> RunFolder.CreateIfFree folder) with
            | (null, _), _ -> None
            | created -> Some created)

/// Works in the run's folder, which nobody else has meanwhile; folders that were made for it and are empty afterwards go.
let inRun place (work: RunFolder -> 'T) =
    let (run, held), made = openRun place

    let leave () =
        AtomicWrite.TryRemove(fun () -> withdrawEmpty place run)
        held.Dispose()
        AtomicWrite.RemoveEmpty made

    use _ = Unfinished.Register leave

    try
        for name in others do
            AtomicWrite.RemoveUnfinishedFile(Path.Combine(run.Path, name))

        work run
    finally
        leave ()

let private requireTokenizer (run: RunFolder) =
    let latest = run.Latest

    if not (Tokenizer.IsIn latest) then
        let file = "tokenizer.json"

        let remedy =
            Directory.GetDirectories(Path.GetDirectoryName latest)
            |> Array.filter Tokenizer.IsIn
            |> Array.tryLast
            |> function
                | Some other -> $"copy {Path.Combine(other, file)} there, which is the same"
                | None -> $"put back the {file} that was saved there"

        raise (LegatoException("the checkpoint's tokenizer is missing", Path.Combine(latest, file), remedy))

// A run goes on with the tokenizer that its checkpoint holds.
let tokenizerOf place (options: TrainOptions) =
    match place with
    | New _ -> options
    | Resumed run ->
        requireTokenizer run
        { options with Tokenizer = TokenizerSource.Own }

let requireStepsLeft place (options: TrainOptions) =
    match place with
    | Resumed run when not (isNull run.Latest) ->
        let taken = TrainingState.Read(run.Latest).Step

        if taken >= int64 options.Steps then
            let what = $"the run is finished: it has taken {Units.steps taken}, and is to take {options.Steps}"
            raise (LegatoException(what, run.Path, "give --steps N with a larger N to go on"))
    | _ -> ()
