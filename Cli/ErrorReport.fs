/// The one place that tells the user what went wrong, and the exit code that goes with it.
module Legato.Cli.ErrorReport

open System
open System.IO
open Argu
open Legato.Runtime

/// The user can mend it.
let userMistake = 2

/// The user can't: a defect of Legato.
let defect = 70

/// what, where and remedy, one a line, on the error stream.
let print (mistake: LegatoException) =
    eprintfn "error: %s" mistake.Message
    userMistake

let printAll (mistakes: LegatoException list) =
    mistakes |> List.iter (print >> ignore)
    userMistake

/// What Argu says of a command line, without the usage that it appends.
let private firstLine (message: string) = message.Split('\n').[0].Replace("ERROR: ", "").Trim().TrimEnd('.')

let private quoted (message: string) =
    match message.Split '\'' with
    | [| _; word; _ |] -> Some word
    | _ -> None

/// A whole number that the flag before it is too small for, and the most that it takes.
let private tooLarge (mostOf: string -> bigint option) (message: string) =
    match message.Split '\'' with
    | [| _; flag; _; word; _ |] ->
        match bigint.TryParse word, mostOf flag with
        | (true, number), Some most when number > most -> Some(flag, number, most)
        | _ -> None
    | _ -> None

/// The remedy for a word that a command line shouldn't have.
let remedy where known word =
    let help = $"`{where} --help` lists what it takes"

    match Mistake.nearest known word with
    | Some meant -> $"did you mean {meant}? {help}"
    | None -> help

/// A command line that can't be read, as a mistake: `known` are the flags and verbs that could have been meant, `mostOf` tells
/// the largest whole number of a flag that takes one.
let ofCommandLine where (known: string seq) mostOf (error: ArguParseException) =
    let what = firstLine error.Message
    let isUnknown = what.StartsWith "unrecognized"
    let word = quoted what |> Option.filter (fun _ -> isUnknown) |> Option.defaultValue ""

    match tooLarge mostOf what with
    | Some(flag, number, most) ->
        Mistake.at where $"give {flag} a smaller number" $"{flag} must be at most {most}, not {number}"
    | None -> Mistake.at where (remedy where known word) what

let private printDefect (error: exn) =
    eprintfn "error: a defect of Legato: %s: %s" (error.GetType().Name) error.Message

    if String.IsNullOrEmpty(Environment.GetEnvironmentVariable "LEGATO_DEBUG") then
        eprintfn "  remedy: run again with LEGATO_DEBUG=1 and report what it prints"
    else
        eprintfn "%O" error

    defect

/// The exit code for an error that left a verb.
let rec ofException (error: exn) =
    match error with
    | :? LegatoException as mistake -> print mistake
    | :? OperationCanceledException ->
        eprintfn "interrupted"
        Interrupt.exitCode
    | :? IOException
    | :? UnauthorizedAccessException ->
        print (LegatoException(error.Message, remedy = "check the path, its permissions and the space on the disk"))
    | :? AggregateException as several ->
        // Threads that do the same fail of the same.
        match several.Flatten().InnerExceptions |> Seq.distinctBy _.Message |> List.ofSeq with
        | [ one ] -> ofException one
        | all when all |> List.forall (fun error -> error :? LegatoException) ->
            printAll (all |> List.map (fun error -> error :?> LegatoException))
        | _ -> printDefect several
    | other -> printDefect other
