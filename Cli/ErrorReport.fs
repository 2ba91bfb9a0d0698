/// The one place that tells the user what went wrong, and the exit code that goes with it.
module Legato.Cli.ErrorReport

open System
open System.Diagnostics
open System.Globalization
open System.IO
open System.Text.RegularExpressions
open Argu
open Legato.Runtime

/// The user can mend it.
let userMistake = 2

/// The user can't: a defect of Legato.
let defect = 70

let private callOfVerb = Regex @"(?<![\w./\\-])legato(?<verb>( [a-z]+)*)(?<flag> --help)?(?=`|\s|$)"

/// A text with the program's own calls, `legato train`, as calls of a script that has the program's verbs. Behind -- F# Interactive
/// leaves --help to the script.
let calledBy (script: string) (text: string) =
    callOfVerb.Replace(
        text,
        fun (call: Match) ->
            let separator = if call.Groups["flag"].Success then " --" else ""
            $"""{script}{separator}{call.Groups["verb"].Value}{call.Groups["flag"].Value}"""
    )

// The script whose model the verbs work on.
let mutable private script: string option = None

/// From here on mistakes are told as the script's.
let ofScript call = script <- Some call

/// what, where and remedy, one a line, on the error stream.
let print (mistake: LegatoException) =
    let told text = text |> Option.ofObj |> Option.map (Option.foldBack calledBy script) |> Option.toObj
    eprintfn "error: %s" (LegatoException(mistake.What, told mistake.Where, told mistake.Remedy).Message)
    userMistake

let printAll (mistakes: LegatoException list) =
    mistakes |> List.iter (print >> ignore)
    userMistake

/// What Argu says of a command line, without the usage that it appends.
let private firstLine (message: string) = message.Split('\n').[0].Replace("ERROR: ", "").Trim().TrimEnd('.')

/// What a flag takes that takes a number.
[<RequireQualifiedAccess>]
type Number =
    | Whole of most: bigint
    | Decimal

let private isFraction (value: float) = value <> Math.Truncate value

/// The number that a word means which isn't written as a whole one is.
let private inDigits (word: string) most =
    match Double.TryParse(word, NumberStyles.Float, CultureInfo.InvariantCulture) with
    | true, value when Double.IsFinite value && not (isFraction value) && value >= 0.0 && bigint value <= most ->
        $"write {bigint value}"
    | _ -> "write digits alone, as in 100"

/// A word that is no number, or one too large, behind a flag that takes one.
let private notThatNumber where flag (word: string) number =
    match number, bigint.TryParse word with
    | Number.Whole _, (true, value) when value.Sign < 0 ->
        Mistake.at where $"give {flag} a larger number" $"{flag} must be at least 0, not {value}"
    | Number.Whole most, (true, value) when value > most ->
        Mistake.at where $"give {flag} a smaller number" $"{flag} must be at most {most}, not {value}"
    | Number.Whole most, _ -> Mistake.at where (inDigits word most) $"{flag} takes a whole number, and '{word}' is none"
    | Number.Decimal, _ when (word.TrimStart('+', '-').ToLowerInvariant()).StartsWith "inf" ->
        Mistake.at where "write digits, as in 0.5 or 1e-4" $"{flag} must be a finite number, not {word}"
    | Number.Decimal, _ ->
        Mistake.at where "write digits, as in 0.5 or 1e-4" $"{flag} takes a number, and '{word}' is none"

/// The names that others give the types of numbers.
let private otherNames =
    Map [
        "float32", "fp32"
        "float", "fp32"
        "f32", "fp32"
        "single", "fp32"
        "bfloat16", "bf16"
        "float16", "fp16"
        "f16", "fp16"
        "half", "fp16"
        "q8_0", "q8"
        "gpu", "cuda"
    ]

/// The one of several names that a word most likely means.
let meantAmong (names: string seq) (word: string) =
    let word = word.ToLowerInvariant()

    otherNames.TryFind word
    |> Option.filter (fun name -> Seq.contains name names)
    |> Option.orElse (Mistake.nearest names word)

/// A word that is none of those that a flag takes, which Argu tells as <a|b|c>.
let private notAmong where flag (choices: string) (word: string) =
    let names = choices.Split('<').[1].Split('>').[0].Split '|'

    let remedy =
        match meantAmong names word with
        | Some meant -> $"did you mean {meant}?"
        | None -> $"write one of them behind {flag}"

    Mistake.at where remedy $"""{flag} takes one of {String.concat ", " names}, and '{word}' is none"""

/// The remedy for a word that a command line shouldn't have.
let remedy where known word =
    let help = $"`{where} --help` lists what it takes"

    match Mistake.nearest known word with
    | Some meant -> $"did you mean {meant}? {help}"
    | None -> help

/// A command line that can't be read, as a mistake: `known` are the flags and verbs that could have been meant, `numberOf` tells
/// of a flag the kind of number that it takes.
let ofCommandLine where (known: string seq) (numberOf: string -> Number option) (error: ArguParseException) =
    let what = firstLine error.Message

    match what.Split '\'' with
    | [| start; word; _ |] when start.StartsWith "unrecognized" -> Mistake.at where (remedy where known word) what
    | [| _; flag; _; word; _ |] when (numberOf flag).IsSome -> notThatNumber where flag word (numberOf flag).Value
    | [| _; flag; choices; word; _ |] when choices.Contains '|' -> notAmong where flag choices word
    | _ -> Mistake.at where (remedy where known "") what

let private isDebugged () = not (String.IsNullOrEmpty(Environment.GetEnvironmentVariable "LEGATO_DEBUG"))

let private isOurs (frame: StackFrame) =
    match frame.GetMethod() |> Option.ofObj |> Option.bind (fun called -> Option.ofObj called.DeclaringType) with
    | Some kind -> kind.Assembly.GetName().Name.StartsWith("legato", StringComparison.OrdinalIgnoreCase)
    | None -> false

/// Where the script threw, or called what did, unless that is Legato.
let private placeInScript (error: exn) =
    StackTrace(error, true).GetFrames()
    |> Seq.takeWhile (isOurs >> not)
    |> Seq.tryFind (fun frame -> not (isNull (frame.GetFileName())) && frame.GetFileName().EndsWith ".fsx")
    |> Option.map (fun frame -> $"{frame.GetFileName()}, line {frame.GetFileLineNumber()}")

let private printDefect (error: exn) =
    eprintfn "error: a defect of Legato: %s: %s" (error.GetType().Name) error.Message

    if isDebugged () then
        eprintfn "%O" error
    else
        eprintfn "  remedy: run again with LEGATO_DEBUG=1 and report what it prints"

    defect

/// What neither the user nor a file is to blame for is the script's mistake or ours.
let private printOther (error: exn) =
    match script |> Option.bind (fun _ -> placeInScript error) with
    | Some place ->
        $"the script's model threw: {error.Message}"
        |> Mistake.at place "correct the script there; with LEGATO_DEBUG=1 it is told what called it"
        |> print
        |> ignore

        if isDebugged () then
            eprintfn "%O" error

        userMistake
    | None -> printDefect error

/// The exit code for an error that left a verb.
let rec ofException (error: exn) =
    match error with
    | :? LegatoException as mistake -> print mistake
    | :? OperationCanceledException ->
        eprintfn "interrupted"
        Interrupt.exitCode ()
    | :? IOException
    | :? UnauthorizedAccessException ->
        let what, where = FileHindrance.Of error, FileHindrance.Place error
        print (LegatoException(what, where, "check the path, its permissions and the space on the disk"))
    | :? AggregateException as several ->
        // Threads that do the same fail of the same.
        match several.Flatten().InnerExceptions |> Seq.distinctBy _.Message |> List.ofSeq with
        | [ one ] -> ofException one
        | all when all |> List.forall (fun error -> error :? LegatoException) ->
            printAll (all |> List.map (fun error -> error :?> LegatoException))
        | _ -> printDefect several
    | other -> printOther other
