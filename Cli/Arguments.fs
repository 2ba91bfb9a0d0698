/// From what Argu parsed to one list of arguments: the config file's first, the command line's on top.
module Legato.Cli.Arguments

open System
open Argu
open FsToolkit.ErrorHandling
open Legato.Runtime

/// A flag that isn't repeatable can't be given twice: which of the two is meant?
let private repeated (parser: ArgumentParser<'Argument>) where (arguments: 'Argument list) =
    arguments
    |> List.groupBy parser.GetTag
    |> List.filter (fun (_, same) -> same.Length > 1)
    |> List.map (fun (_, same) -> parser.GetArgumentCaseInfo same.Head)
    |> List.filter (Repeatable.takesSeveral >> not)
    |> List.map (fun case ->
        let name =
            if case.IsMainCommand then
                case.UnionCaseInfo.Name.ToUpperInvariant()
            else
                case.Name.Value

        Mistake.at where "give it once" $"{name} is given more than once")

/// The words of an argument that a flag nobody knows may hide among: Argu reads it as one more value.
let private openWords (parser: ArgumentParser<'Argument>) argument =
    let case = parser.GetArgumentCaseInfo argument
    let words = parser.PrintCommandLineArguments [ argument ] |> List.ofArray

    if case.IsMainCommand then words
    elif case.ArgumentType = ArgumentType.Primitive then []
    else words.Tail

let private looksLikeFlag (word: string) = word.Length > 2 && word.StartsWith "--" && Char.IsAsciiLetter word[2]

let private unknownFlags (parser: ArgumentParser<'Argument>) where arguments =
    let known = parser.GetArgumentCases() |> List.collect _.CommandLineNames.Value

    arguments
    |> List.collect (openWords parser)
    |> List.filter looksLikeFlag
    |> List.map (fun flag -> Mistake.at where (ErrorReport.remedy where known flag) $"unknown flag '{flag}'")

/// The flag whose file gives arguments too, for the verbs that have it.
let private configFlag = "--config"

let private configOf (parser: ArgumentParser<'Argument>) argument =
    match List.ofArray (parser.PrintCommandLineArguments [ argument ]) with
    | [ flag; file ] when flag = configFlag -> Some file
    | _ -> None

/// What the command line gives, over what the config file gives that it names. A flag on the command line replaces the
/// same flag in the file, lists included.
let gather where (given: ParseResults<'Argument>) : Result<'Argument list, LegatoException list> =
    let parser = given.Parser
    let fromLine = given.GetAllResults()
    let overridden = fromLine |> List.map parser.GetTag |> Set.ofList

    result {
        do!
            match unknownFlags parser where fromLine, repeated parser where fromLine with
            | [], [] -> Ok()
            | [], mistakes
            | mistakes, _ -> Error mistakes

        let! fromFile =
            fromLine
            |> List.tryPick (configOf parser)
            |> Option.map (ConfigFile.load parser)
            |> Option.defaultValue (Ok [])

        return
            (fromFile |> List.filter (fun argument -> not (overridden.Contains(parser.GetTag argument))))
            @ fromLine
    }

/// A verb's options, folded from its arguments; or everything that is wrong with them.
let options
    where
    (apply: 'Options -> 'Argument -> 'Options)
    (defaults: 'Options)
    (checks: 'Argument list -> 'Options -> (string -> LegatoException option) list)
    (given: ParseResults<'Argument>)
    : Result<'Options, LegatoException list> =
    result {
        let! arguments = gather where given
        let options = List.fold apply defaults arguments
        return! Limits.hold where (checks arguments options) options
    }

/// "layers=4" as a field and its value; either is empty where the text lacks it.
let assignment (text: string) =
    match text.IndexOf '=' with
    | -1 -> text, ""
    | middle -> text[.. middle - 1], text[middle + 1 ..]
