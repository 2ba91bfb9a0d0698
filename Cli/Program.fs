/// The program: finds the verb, reads its flags, runs it, and turns what went wrong into an exit code.
module Legato.Cli.Program

open System
open System.Reflection
open Argu
open Legato.Runtime

type LegatoArgument =
    | [<CliPrefix(CliPrefix.None)>] Train of ParseResults<Train.TrainArgument>
    | [<CliPrefix(CliPrefix.None)>] Generate of ParseResults<Generate.GenerateArgument>
    | [<CliPrefix(CliPrefix.None)>] Plan of ParseResults<PlanVerb.PlanArgument>
    | [<CliPrefix(CliPrefix.None)>] Verify of ParseResults<Verify.VerifyArgument>
    | [<CliPrefix(CliPrefix.None)>] Bench of ParseResults<Bench.BenchArgument>
    | [<CliPrefix(CliPrefix.None)>] Tokenize of ParseResults<Tokenize.TokenizeArgument>
    | [<CliPrefix(CliPrefix.None)>] Models of ParseResults<ModelsVerb.ModelsArgument>
    | [<CliPrefix(CliPrefix.None)>] Inspect of ParseResults<Inspect.InspectArgument>
    | [<CliPrefix(CliPrefix.None)>] Export of ParseResults<Export.ExportArgument>
    | [<CliPrefix(CliPrefix.None)>] Convert of ParseResults<Convert.ConvertArgument>
    | [<CliPrefix(CliPrefix.None)>] Doctor of ParseResults<Doctor.DoctorArgument>
    | Version

    interface IArgParserTemplate with
        member argument.Usage =
            match argument with
            | Train _ -> "train a model"
            | Generate _ -> "let a model go on from a prompt"
            | Plan _ -> "show what would run, how long it takes and how much memory it needs"
            | Verify _ -> "recompute recorded results and tell the difference"
            | Bench _ -> "measure this machine, and Legato on it"
            | Tokenize _ -> "train, use and compare tokenizers"
            | Models _ -> "list the families and the presets"
            | Inspect _ -> "show a model's parameters and the memory that they take"
            | Export _ -> "write a model as a folder that other programs load"
            | Convert _ -> "turn weights from safetensors into GGUF and back, or into another type"
            | Doctor _ -> "show what Legato sees of this machine"
            | Version -> "print the version"

let private verbOf =
    function
    | [] -> None
    | (word: string) :: _ when word.StartsWith '-' -> None
    | word :: _ -> Some word

/// The words that name a parser: the verb, and its action if it has one.
let rec private find (parser: ArgumentParser) (words: string list) : ArgumentParser * string list =
    let child =
        parser.GetSubCommandParsers()
        |> List.tryFind (fun child -> verbOf words = (child.ParentInfo |> Option.map (fun case -> case.Name.Value)))

    match child with
    | Some child ->
        let found, path = find child words.Tail
        found, words.Head :: path
    | None -> parser, []

let private parser =
    lazy
        (ArgumentParser.Create<LegatoArgument>(
            programName = "legato",
            usageStringCharacterWidth = HelpText.width,
            checkStructure = false
        ))

/// The help text of the program, of a verb (`["train"]`) or of an action (`["tokenize"; "train"]`).
let help words = (fst (find parser.Value words)).PrintUsage(usageStringCharacterWidth = HelpText.width)

/// Every text that `help` can give, by the words that ask for it.
let helpTopics () =
    let rec below (parser: ArgumentParser) path =
        path
        :: (parser.GetSubCommandParsers()
            |> List.collect (fun child -> below child (path @ [ child.ParentInfo.Value.Name.Value ])))

    below parser.Value []

let private namesOf (parser: ArgumentParser) =
    parser.GetArgumentCases()
    |> List.collect (fun case ->
        if case.ArgumentType = ArgumentType.SubCommand then
            [ case.Name.Value ]
        else
            case.CommandLineNames.Value)

/// The type of what follows a flag, if anything does.
let private typeOf (parser: ArgumentParser) flag =
    parser.GetArgumentCases()
    |> List.filter (fun case -> case.ArgumentType <> ArgumentType.SubCommand)
    |> List.tryFind (fun case -> List.contains flag case.CommandLineNames.Value)
    |> Option.bind (fun case -> case.UnionCaseInfo.GetFields() |> Array.tryHead)
    |> Option.map _.PropertyType

let private numberOf parser flag =
    match typeOf parser flag with
    | Some kind when kind = typeof<int> -> Some(ErrorReport.Number.Whole(bigint Int32.MaxValue))
    | Some kind when kind = typeof<int64> -> Some(ErrorReport.Number.Whole(bigint Int64.MaxValue))
    | Some kind when kind = typeof<uint64> -> Some(ErrorReport.Number.Whole(bigint UInt64.MaxValue))
    | Some kind when kind = typeof<float> -> Some ErrorReport.Number.Decimal
    | _ -> None

let private placeOf path = String.concat " " ("legato" :: path)

/// Argu skips commas in a number: 0,8 would be 8.
let private commas words =
    let parser, path = find parser.Value words

    [
        for flag, word in List.pairwise words do
            if word.Contains ',' && typeOf parser flag = Some typeof<float> then
                $"{flag} takes a number, and '{word}' is none"
                |> Mistake.at (placeOf path) "write decimals behind a point, as in 0.5, and no commas"
    ]

let private unreadable words (error: ArguParseException) =
    let parser, path = find parser.Value words
    ErrorReport.print (ErrorReport.ofCommandLine (placeOf path) (namesOf parser) (numberOf parser) error)

let private version () = Assembly.GetExecutingAssembly().GetName().Version.ToString 3

/// Runs a verb on its options, or reports what is wrong with them.
let private runOn (run: 'Options -> int) (options: Result<'Options, LegatoException list>) =
    match options with
    | Ok options -> run options
    | Error mistakes -> ErrorReport.printAll mistakes

/// The verbs that work on a model, which a script declares itself.
[<NoEquality; NoComparison>]
type ModelVerbs = {
    Train: TrainOptions.TrainOptions -> int
    Generate: Generate.GenerateOptions -> int
    Plan: PlanVerb.PlanOptions -> int
    /// A verb's help text, from what its flags say.
    Help: string list -> string -> string
}

/// What a script calls by those verbs.
let private verbsOfScripts = [ "train"; "generate"; "plan" ]

/// The mistake of a script's words that name none of its verbs: one of the program's, or a misspelt one.
/// <param name="call">How the script is called.</param>
let notOfScript call words : LegatoException option =
    verbOf words
    |> Option.filter (fun word -> not (List.contains word verbsOfScripts))
    |> Option.map (fun word ->
        let remedy =
            if List.contains word (namesOf parser.Value) then
                $"use legato {word}"
            else
                ErrorReport.calledBy call (ErrorReport.remedy "legato" verbsOfScripts word)

        $"""a script is for {String.concat ", " verbsOfScripts}, and '{word}' is none of them"""
        |> Mistake.at call remedy)

let private dispatch verbs (given: ParseResults<LegatoArgument>) =
    match given.GetAllResults() with
    | Train flags :: _ -> runOn verbs.Train (Train.options flags)
    | Generate flags :: _ -> runOn verbs.Generate (Generate.options flags)
    | Plan flags :: _ -> runOn verbs.Plan (PlanVerb.options flags)
    | Verify flags :: _ -> runOn Verify.run (Verify.options flags)
    | Bench flags :: _ -> runOn BenchRun.run (Bench.options flags)
    | Tokenize flags :: _ -> runOn Tokenize.run (Tokenize.options flags)
    | Models flags :: _ -> runOn ModelsVerb.run (ModelsVerb.options flags)
    | Inspect flags :: _ -> runOn Inspect.run (Inspect.options flags)
    | Export flags :: _ -> runOn Export.run (Export.options flags)
    | Convert flags :: _ -> runOn Convert.run (Convert.options flags)
    | Doctor flags :: _ -> runOn Doctor.run (Doctor.options flags)
    | Version :: _ ->
        printfn "legato %s" (version ())
        0
    | [] ->
        printfn "%s" (help [])
        ErrorReport.userMistake

let private perform (verbs: ModelVerbs) (words: string list) =
    try
        DebugLevel.Current |> ignore
        Interrupt.listen ()
        let parsed = parser.Value.ParseCommandLine(Array.ofList words)
        Timeline.Mark "command line read"

        match commas words with
        | [] -> dispatch verbs parsed
        | mistakes -> ErrorReport.printAll mistakes
    with
    | :? ArguParseException as request when request.ErrorCode = ErrorCode.HelpText ->
        printfn "%s" (verbs.Help (snd (find parser.Value words)) request.Message)
        0
    | :? ArguParseException as error -> unreadable words error

/// Does what the words say, with these verbs in the place of the program's own.
let runWith verbs words =
    Output.guard ()

    try
        perform verbs words
    with error ->
        ErrorReport.ofException error

let private own = {
    Train = TrainRun.run
    Generate = GenerateRun.run
    Plan = PlanVerb.run
    Help = fun _ text -> text
}

/// The program: its words in, its exit code out.
let main words =
    Timeline.Mark "program entered"
    runWith own (List.ofArray words)
