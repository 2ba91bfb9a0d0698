/// Runs `legato train`: data, tokenizer, model, plans, trainer, and the end of the main job.
module Legato.Cli.TrainRun

open System
open System.IO
open System.Text.Json.Nodes
open System.Threading.Tasks
open Legato.Cli.ModelSource
open Legato.Cli.TrainNeed
open Legato.Cli.TrainOptions
open Legato.Cli.TrainPlace
open Legato.Runtime
open Legato.Runtime.Checkpoints
open Legato.Runtime.Data
open Legato.Runtime.Devices
open Legato.Runtime.Generation
open Legato.Runtime.Plans
open Legato.Runtime.Text
open Legato.Runtime.Training

let private readsSource (plans: IPlanSource) = plans.Model.Task = ModelTask.SequenceToSequence

let private generator (plans: IPlanSource) (trainer: Trainer) precision tokenizer rows context =
    let source = if readsSource plans then context else 0
    let sizes = GeneratorSizes(rows, context, Precision = precision, Source = source)
    new Generator(plans, trainer.Memory, sizes, tokenizer)

let private samplePositions = 200

/// What the model says after the prompt, or of it.
let private speak isSource (generator: Generator) (tokenizer: Tokenizer) (context: int) seed (prompt: string) =
    let room = context - if isSource then 1 else tokenizer.EncodeIds(prompt).Length

    let settings =
        GenerationOptions(min samplePositions room, Sampling = Sampling 0.8, Seed = int64 (seed: uint64))

    let rows = generator.Generate([| prompt |], settings)
    if isSource then rows[0].Text else prompt + rows[0].Text

/// Everything that a run works with.
[<NoEquality; NoComparison>]
type private Job = {
    Call: string
    Options: TrainOptions
    Training: TrainingOptions
    Plans: IPlanSource
    Place: Place
    Start: string option
    Tokenizer: Tokenizer
    Text: TrainData.Text
}

let private start (job: Job) (trainer: Trainer) =
    match job.Place, job.Start with
    | Resumed _, _ -> trainer.Resume()
    | New _, Some folder -> trainer.Load folder
    | New _, None -> trainer.Initialize()

let private report (job: Job) (run: RunFolder) (outcome: TrainingOutcome) =
    if outcome.WasCancelled then
        eprintfn
            "interrupted at step %d of %d; the checkpoint %s is kept"
            outcome.Step
            job.Training.Steps
            outcome.Checkpoint

        eprintfn "  go on with: %s train --resume %s" job.Call run.Path
        Interrupt.exitCode ()
    else
        if not job.Options.Json then
            let heldOut =
                match Option.ofNullable outcome.Evaluation with
                | None -> ""
                | Some held -> $", held out {held.Loss:F3} (perplexity {held.Perplexity:F2})"

            printfn "%s: loss %.3f%s" (Units.steps outcome.Step) outcome.Loss heldOut

            Timeline.Moments
            |> Seq.tryFindBack (fun moment -> moment.Done = Trainer.FirstStep)
            |> Option.iter (fun moment -> printfn "first step  %s after the start" (Units.seconds moment.Seconds))

            printfn "checkpoint  %s" outcome.Checkpoint
            printfn "report      %s" run.ReportFile

        0

/// The end of the main job. Elsewhere nobody knows which sentences are right.
let private recite (job: Job) (trainer: Trainer) =
    let length = job.Training.Sequence

    match job.Text with
    | TrainData.Text.BuiltIn _ when job.Plans.Model.Task = ModelTask.CausalLm && length < Recital.shortest ->
        if not job.Options.Quiet then
            eprintfn
                "note: with sequences of %s the model doesn't show what it has learned; from %d on it does"
                (Units.tokens length)
                Recital.shortest
    | TrainData.Text.BuiltIn _ when job.Plans.Model.Task = ModelTask.CausalLm ->
        use speaker = generator job.Plans trainer job.Training.Precision job.Tokenizer Recital.rows length
        let recital = Recital.perform speaker length job.Options.Seed

        if job.Options.Json then
            TrainProgress.printLine (Recital.entries recital)
        else
            Recital.print recital
    | _ -> ()

let private stepsTaken (job: Job) =
    match job.Place with
    | New _ -> 0L
    | Resumed run -> TrainingState.Read(run.Latest).Step

// A checkpoint's vectors belong to the ids of its own tokenizer.
let private noteOtherTokenizer say (job: Job) =
    match job.Place, job.Start with
    | New _, Some folder ->
        // One that can't be read can't be compared either, and isn't what is trained with.
        let own =
            try
                TrainData.own folder
            with :? LegatoException ->
                None

        match own with
        | Some own when own.Hash <> job.Tokenizer.Hash ->
            say
            <| sprintf
                "note: this is another tokenizer than the checkpoint's own in %s: what its token vectors have learned is of no use; leave --tokenizer out to keep it"
                folder
        | _ -> ()
    | _ -> ()

// The rate may change on the way, unlike what the optimizer's state depends on.
let private noteOtherRate say (job: Job) =
    match job.Place, job.Start with
    | Resumed _, Some folder ->
        let before = TrainingState.Read(folder).Options.Rate

        if before <> job.Training.Rate then
            say
            <| sprintf
                "note: the learning rate goes on otherwise than the run began: then %s; now %s"
                before.Description
                job.Training.Rate.Description
    | _ -> ()

// Of a run that goes on it is told once nothing stands against that: its files are sound, and it is the same model.
let private announce (say: string -> unit) (need: MemoryNeed.Need) (job: Job) =
    noteOtherTokenizer say job
    noteOtherRate say job

    if not (job.Options.Quiet || job.Options.Json) then
        let model = job.Plans.Model
        let parameters = model.Parameters |> Seq.sumBy _.Elements

        say
        <| sprintf
            "%s: %s parameters, %s in the vocabulary, %s of memory"
            model.Name
            (parameters.ToString "#,0")
            (Units.tokens model.Vocabulary)
            (Units.bytes need.Bytes)

        if job.Options.Dropout = 0.0 then
            for key, share in ConfigDropout.asked model.Config do
                say
                <| sprintf
                    "note: %s is %g in the model's config; training goes without, unless --dropout %g"
                    key
                    share
                    share

let private train (job: Job) (run: RunFolder) (device: IDevice) need (tokens: TokenData) =
    let options = job.Options

    let struct (kept, heldOut) =
        TrainData.split options (job.Training.Objective.TextLength job.Training.Shape) tokens

    if options.EvaluateEvery > 0 && heldOut.Length = 0L && not options.Quiet then
        eprintfn "note: the text is too short to hold a part of it back; there are no evaluations"

    if job.Place.IsNew then
        announce (eprintfn "%s") need job

    let cancellation = Interrupt.token ()
    let trainer: Trainer option ref = ref None
    let context = int job.Plans.Model.Context

    let sampler: Generator option ref = ref None

    let openSampler () =
        if sampler.Value.IsNone then
            sampler.Value <-
                Some(generator job.Plans trainer.Value.Value job.Training.Precision job.Tokenizer 1 context)

        sampler.Value.Value

    let closeSampler () =
        sampler.Value |> Option.iter _.Dispose()
        sampler.Value <- None

    let sample =
        options.SamplePrompt
        |> Option.map (fun prompt ->
            fun () -> speak (readsSource job.Plans) (openSampler ()) job.Tokenizer context options.Seed prompt)

    let work observer say tellPlace =
        let made = new Trainer(device, job.Plans, kept, heldOut, job.Training, run, job.Tokenizer, observer)
        trainer.Value <- Some made
        start job made

        // What it goes on with from here: had it been refused, the settings that it began with would still hold.
        match job.Place with
        | Resumed _ ->
            announce say need job
            TrainSettings.write run.Path options
        | New _ -> ()

        tellPlace ()
        made.Run cancellation

    try
        let outcome =
            if options.Json then
                work (TrainProgress.forPrograms ()) (eprintfn "%s") ignore
            else
                Progress.displaying options.Quiet "training" (stepsTaken job) job.Training.Steps (fun display ->
                    let say = if options.Quiet then eprintfn "%s" else display.Note

                    work (TrainProgress.forPeople display sample) say (fun () ->
                        display.Note $"the run is in {run.Path}"))

        let exitCode = report job run outcome

        if exitCode = 0 then
            closeSampler ()
            // The recital's has more rows.
            trainer.Value.Value.Memory.Release BufferClass.Cache
            recite job trainer.Value.Value

        exitCode
    finally
        closeSampler ()
        trainer.Value |> Option.iter _.Dispose()

/// Refused before the first step, not at the first evaluation.
let private requirePrompt (tokenizer: Tokenizer) (model: ModelDescription) (options: TrainOptions) =
    let flag, context = "--sample-prompt", int model.Context

    let refuse what = raise (LegatoException(what, flag, "choose a prompt in the words of the data, or leave it out"))

    match options.SamplePrompt with
    | None -> ()
    | Some _ when model.Task = ModelTask.MaskedLm ->
        raise (LegatoException($"{model.Name} fills gaps; it can't go on from a prompt", flag, $"leave {flag} out"))
    | Some prompt ->
        let ids =
            try
                tokenizer.EncodeIds prompt
            with :? LegatoException as e ->
                refuse e.What

        if ids.Length >= context then
            refuse $"the prompt has {Units.tokens ids.Length}, and the model reads at most {context}"

let private trainAt call (options: TrainOptions) (opening: DeviceChoice.Opening) (choice: Choice) plansOf place =
    let finding = Task.Run(fun () -> TrainData.find options)
    let found () = finding.GetAwaiter().GetResult()
    let start = checkpoint place choice
    let tokenizer = TrainData.tokenizer (tokenizerOf place options) start found
    let text = found ()
    Timeline.Mark "text and tokenizer found"
    let plans = ShownPlans.ofPlans (plansOf (choice.Fit tokenizer))
    start |> Option.iter (LaterLayers.require plans.Model)
    let sequence = options.Sequence |> Option.defaultValue (int plans.Model.Context)
    let objective = TrainObjective.find options plans.Model tokenizer
    let rows = TrainObjective.rows plans.Model objective (TrainData.isPacked options text)
    let training = trainingOptions options objective (rows sequence)
    requirePrompt tokenizer plans.Model options
    requireStepsLeft place options

    inRun place (fun run ->
        match place with
        | New _ -> TrainSettings.write run.Path options
        | Resumed _ -> ()

        // Tokens are made, and a GPU is opened, while plans are compiled.
        use tokens = TrainData.tokens options run tokenizer text

        let job = {
            Call = call
            Options = options
            Training = training
            Plans = plans
            Place = place
            Start = start
            Tokenizer = tokenizer
            Text = text
        }

        requests training |> List.iter (plans.Plan >> ignore)
        let device = opening.Device
        let need = requireMemory device plans objective options rows sequence
        Timeline.Mark "memory checked"
        train job run device need tokens.Made)

/// Trains the model, whatever declares it.
/// <param name="call">How the program was called, to say how the run goes on.</param>
let runWith (call: string) (choose: TrainOptions -> Choice) (options: TrainOptions) : int =
    use opening = DeviceChoice.opening options.Device options.Threads options.Pin
    let choice = choose options
    use ahead = TrainAhead.start opening choice options
    let place = place options (Path.GetFileName choice.Name)
    tellingWhole options place (fun () -> trainAt call options opening choice ahead.PlansOf place)

/// Trains a preset or a checkpoint folder's model.
let run (options: TrainOptions) : int =
    if GgufFile.IsNamed options.Model then
        let remedy = "turn it into a folder first: legato convert"
        raise (LegatoException("training starts from a folder in the Hugging Face layout", options.Model, remedy))

    runWith "legato" (fun options -> chooseToTrain options.Overrides (find options.Model)) options
