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

/// What a verb is given.
[<NoComparison>]
type Gathered<'Argument> = {
    Arguments: 'Argument list
    /// Of the flags that a file gives, where in it.
    Places: Map<string, string>
}

/// What is given over what a file gives: a flag replaces the same flag in the file, lists included.
let over (parser: ArgumentParser<'Argument>) (file: ConfigFile.Given<'Argument> list) (given: Gathered<'Argument>) =
    let overridden = given.Arguments |> List.map parser.GetTag |> Set.ofList
    let isReplaced argument = overridden.Contains(parser.GetTag argument)
    let kept = file |> List.filter (fun setting -> not (List.exists isReplaced setting.Arguments))

    {
        Arguments = (kept |> List.collect _.Arguments) @ given.Arguments
        Places = (given.Places, kept) ||> List.fold (fun places setting -> places.Add(setting.Flag, setting.Place))
    }

/// A mistake in what a file gives is told with its place there; it begins with the flag.
let private located (places: Map<string, string>) (mistake: LegatoException) =
    match places.TryFind(mistake.What.Split(' ', 2)[0]) with
    | Some place -> LegatoException(mistake.What, place, mistake.Remedy, mistake)
    | None -> mistake

/// The options if no check finds a mistake in what is given, else all mistakes.
let hold where checks (given: Gathered<'Argument>) options =
    Limits.hold where checks options |> Result.mapError (List.map (located given.Places))

/// What the command line gives, over what the config file gives that it names.
let gather where (given: ParseResults<'Argument>) : Result<Gathered<'Argument>, LegatoException list> =
    let parser = given.Parser
    let fromLine = given.GetAllResults()

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

        return over parser fromFile { Arguments = fromLine; Places = Map.empty }
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
        let! gathered = gather where given
        let options = List.fold apply defaults gathered.Arguments
        return! hold where (checks gathered.Arguments options) gathered options
    }

/// "layers=4" as a field and its value; either is empty where the text lacks it.
let assignment (text: string) =
    match text.IndexOf '=' with
    | -1 -> text, ""
    | middle -> text[.. middle - 1], text[middle + 1 ..]
