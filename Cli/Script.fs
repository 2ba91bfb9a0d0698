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
        | Some script -> Path.GetFileNameWithoutExtension all[script], List.ofArray all[script + 1 ..]
        | None -> "script", List.ofArray (Array.tail all)

    static let noFlag flag why =
        raise (LegatoException($"{flag} is of no use here: {why}", "the script's command line", $"leave out {flag}"))

    // The default of a bare `legato train` is a preset; a script has its own model instead.
    static let train name (fit: int -> ModelDef) (options: Train.TrainOptions) =
        if options.Model <> Train.defaults.Model && options.Model <> "" then
            noFlag "MODEL" "the script declares the model"

        if not options.Overrides.IsEmpty then
            noFlag "--set" "the script declares the model"

        let choice _ = {
            Name = name
            Fit = fun tokenizer -> guarded (fun () -> fit tokenizer.VocabularySize)
            Folder = None
        }

        TrainRun.runWith choice { options with Model = "" }

    static let generate name (fit: int -> ModelDef) options =
        let choice (options: Generate.GenerateOptions) = {
            Name = name
            Fit = fun tokenizer -> guarded (fun () -> fit tokenizer.VocabularySize)
            Folder = Some(checkpointOf options.Model)
        }

        GenerateRun.runWith choice options

    // A run's folder tells how large the vocabulary is.
    static let plan (fit: int -> ModelDef) (options: PlanVerb.PlanOptions) =
        let tokenizer = Tokenizer.Load(checkpointOf options.Model)
        PlanVerb.runWith (guarded (fun () -> fit tokenizer.VocabularySize)) options

    static let perform fit =
        let name, words = words ()
        let verbs: Program.ModelVerbs = { Train = train name fit; Generate = generate name fit; Plan = plan fit }
        exit (Program.runWith verbs words)

    /// Gives the script the program's verbs.
    /// <param name="model">The model for a vocabulary of so many tokens: those of the tokenizer that it is trained with.</param>
    static member run(model: int -> ModelDef) : unit = perform model

    /// Gives the script the program's verbs; the tokenizer must have the model's vocabulary.
    static member run(model: ModelDef) : unit = perform (fun _ -> model)
