/// The program's verbs for a model that a script declares: a script ends in `Legato.Script.run model`, and then
/// `dotnet fsi my-model.fsx train --data …` does what `legato train` does, with the script's model.
namespace Legato

open System
open System.IO
open Legato.Cli
open Legato.Cli.ModelSource
open Legato.Dsl
open Legato.Runtime
open Legato.Runtime.Text

[<AbstractClass; Sealed>]
type Script private () =
    static let words () =
        let all = Environment.GetCommandLineArgs()

        match all |> Array.tryFindIndex (fun word -> word.EndsWith(".fsx", StringComparison.OrdinalIgnoreCase)) with
        | Some script ->
            Path.GetFileNameWithoutExtension all[script], $"dotnet fsi {all[script]}", List.ofArray all[script + 1 ..]
        | None -> "script", "the script, with", List.ofArray (Array.tail all)

    static let noFlag flag why =
        raise (LegatoException($"{flag} is of no use here: {why}", "the script's command line", $"leave out {flag}"))

    static let noOverrides (overrides: (string * string) list) =
        if not overrides.IsEmpty then
            noFlag "--set" "the script declares the model"

    // The default of a bare `legato train` is a preset; a script has its own model instead.
    static let train call name (fit: int -> ModelDef) (options: TrainOptions.TrainOptions) =
        if options.Model <> TrainOptions.defaults.Model && options.Model <> "" then
            noFlag "MODEL" "the script declares the model"

        noOverrides options.Overrides

        let choice _ = {
            Name = name
            Fit = fun tokenizer -> guarded (fun () -> fit tokenizer.VocabularySize)
            Usual = None
            Folder = None
        }

        TrainRun.runWith call choice { options with Model = "" }

    static let generate name (fit: int -> ModelDef) options =
        let choice (options: Generate.GenerateOptions) = {
            Name = name
            Fit = fun tokenizer -> guarded (fun () -> fit tokenizer.VocabularySize)
            Usual = None
            Folder = Some(checkpointOf options.Model)
        }

        GenerateRun.runWith choice options

    // A run's folder tells how large the vocabulary is, and there needn't be one.
    static let vocabulary (options: PlanVerb.PlanOptions) =
        match options.Model, options.Vocabulary with
        | "", Some size -> size
        | "", None ->
            let remedy = "give --vocab N, or the folder of a run"
            raise (LegatoException("the script's model is one for any vocabulary", "the script's command line", remedy))
        | _, Some _ -> noFlag "--vocab" "the run's folder tells how large the vocabulary is"
        | folder, None -> Tokenizer.Load(checkpointOf folder).VocabularySize

    static let planAny fit (options: PlanVerb.PlanOptions) =
        noOverrides options.Overrides
        PlanVerb.runWith (guarded (fun () -> fit (vocabulary options))) options

    static let planOne (model: ModelDef) (options: PlanVerb.PlanOptions) =
        if options.Model <> "" || options.Vocabulary.IsSome then
            noFlag "MODEL or --vocab" "the script declares the model, its vocabulary too"

        noOverrides options.Overrides

        PlanVerb.runWith model options

    static let usage name call =
        [
            $"the model {name}, which this script declares"
            ""
            $"    {call} train --data FILE --out RUN"
            $"    {call} generate RUN --prompt TEXT"
            $"    {call} plan RUN"
            ""
            $"Behind --, which keeps F# Interactive from answering, --help lists a verb's flags: {call} -- train --help"
        ]
        |> String.concat "\n"

    static let isQuestion words =
        match words with
        | []
        | [ "--help" ] -> true
        | _ -> false

    static let perform fit plan fitsAny =
        let name, call, words = words ()

        if isQuestion words then
            printfn "%s" (usage name call)
            exit (if words.IsEmpty then ErrorReport.userMistake else 0)

        Program.notOfScript call words |> Option.iter (ErrorReport.print >> exit)

        ErrorReport.ofScript call

        let verbs: Program.ModelVerbs = {
            Train = train call name fit
            Generate = generate name fit
            Plan = plan
            Help = HelpText.ofScript call fitsAny
        }

        exit (Program.runWith verbs words)

    /// Gives the script the program's verbs.
    /// <param name="model">The model for a vocabulary of so many tokens: those of the tokenizer that it is trained with.</param>
    static member run(model: int -> ModelDef) : unit = perform model (planAny model) true

    /// Gives the script the program's verbs; the tokenizer must have the model's vocabulary.
    static member run(model: ModelDef) : unit = perform (fun _ -> model) (planOne model) false
