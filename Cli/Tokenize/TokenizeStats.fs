/// `legato tokenize stats`: how well tokenizers fit texts, side by side.
module Legato.Cli.TokenizeStats

open System
open System.IO
open Argu
open Legato.Cli.Repeatable
open Legato.Runtime
open Legato.Runtime.Text

type TokenizeStatsArgument =
    | [<MainCommand>] Input of path: string list
    | [<Repeatable>] Tokenizer of path: string
    | Pattern of RankPattern.Pattern
    | Json

    interface IArgParserTemplate with
        member argument.Usage =
            match argument with
            | Input _ -> "text files or folders, each counted once (default: the standard input)"
            | Tokenizer _ ->
                "a tokenizer's file, or a folder that holds one; give the flag for each tokenizer to compare"
            | Pattern _ -> RankPattern.usage
            | Json -> "print the figures as JSON"

type TokenizeStatsOptions = {
    /// Files and folders; none: the standard input.
    Inputs: string list
    Tokenizers: string list
    Pattern: RankPattern.Pattern option
    Json: bool
}

let private defaults = { Inputs = []; Tokenizers = []; Pattern = None; Json = false }

let private where = "legato tokenize stats"

let private apply options argument =
    match argument with
    | Input paths -> { options with Inputs = options.Inputs @ paths }
    | Tokenizer path -> { options with Tokenizers = options.Tokenizers @ [ path ] }
    | Pattern pattern -> { options with Pattern = Some pattern }
    | Json -> { options with Json = true }

let options (given: ParseResults<TokenizeStatsArgument>) : Result<TokenizeStatsOptions, LegatoException list> =
    let checks _ options = [ Limits.given "--tokenizer" (String.concat " " options.Tokenizers) ]
    Arguments.options where apply defaults checks given

/// By another name the same file is the same still.
let private once (nameOf: 'T -> string) (items: 'T list) =
    items |> List.distinctBy (nameOf >> Path.GetFullPath >> _.TrimEnd(Path.DirectorySeparatorChar))

let run options =
    let tokenizers =
        once id options.Tokenizers
        |> List.map (fun path -> struct (path, RankPattern.load options.Pattern path))
        |> Array.ofList

    let texts =
        TextInput.sources options.Inputs
        |> once _.Name
        |> Seq.collect (fun source -> TextInput.pieces source |> Seq.map (fun piece -> struct (source.Name, piece)))

    let fits = TokenizerReport.Measure(tokenizers, texts)

    if options.Json then
        JsonOutput.print fits
    else
        TokenizerReport.Write(fits, Console.Out)

    0
