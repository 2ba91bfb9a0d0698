/// `legato tokenize decode`: ids to text.
module Legato.Cli.TokenizeDecode

open System
open Argu
open FsToolkit.ErrorHandling
open Legato.Runtime
open Legato.Runtime.Text

type TokenizeDecodeArgument =
    | [<MainCommand>] Input of file: string list
    | Tokenizer of path: string
    | Keep_Special
    | Jsonl

    interface IArgParserTemplate with
        member argument.Usage =
            match argument with
            | Input _ -> "files of ids (default: the standard input)"
            | Tokenizer _ -> "a tokenizer file, or a folder that holds one"
            | Keep_Special -> "spell special tokens too"
            | Jsonl -> "take a JSON array of ids a line, give its text as a JSON string a line"

type TokenizeDecodeOptions = {
    /// Files; none: the standard input.
    Inputs: string list
    Tokenizer: string
    KeepSpecial: bool
    JsonLines: bool
}

let private defaults = { Inputs = []; Tokenizer = ""; KeepSpecial = false; JsonLines = false }

let private where = "legato tokenize decode"

let private apply options argument =
    match argument with
    | Input paths -> { options with Inputs = options.Inputs @ paths }
    | Tokenizer path -> { options with Tokenizer = path }
    | Keep_Special -> { options with KeepSpecial = true }
    | Jsonl -> { options with JsonLines = true }

let options (given: ParseResults<TokenizeDecodeArgument>) : Result<TokenizeDecodeOptions, LegatoException list> =
    result {
        let! arguments = Arguments.gather where Arguments.noConfig given
        let options = List.fold apply defaults arguments
        return! Limits.hold where [ Limits.given "--tokenizer" options.Tokenizer ] options
    }

let private id (source: TextInput.Source) (word: string) =
    match Int32.TryParse word with
    | true, id -> id
    | _ ->
        raise (LegatoException($"'{word}' is no id", source.Name, "write whole numbers with white space between them"))

let private ids source =
    (TextInput.whole source).Split([| ' '; '\t'; '\r'; '\n' |], StringSplitOptions.RemoveEmptyEntries)
    |> Array.map (id source)

let run options =
    let tokenizer = Text.Tokenizer.Load options.Tokenizer

    if options.JsonLines then
        JsonLines.answer options.Inputs (fun lines output ->
            TokenizerLines.Decode(tokenizer, lines, output, options.KeepSpecial))
    else
        for source in TextInput.sources options.Inputs do
            Console.Write(tokenizer.Decode(ids source, options.KeepSpecial))

    0
