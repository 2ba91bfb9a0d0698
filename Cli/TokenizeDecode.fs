/// `legato tokenize decode`: ids to text.
module Legato.Cli.TokenizeDecode

open System
open System.Text.Encodings.Web
open System.Text.Json
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

/// Text as people write it, not escaped for the inside of HTML.
let private plain = JsonSerializerOptions(Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping)

let run options =
    let tokenizer = Text.Tokenizer.Load options.Tokenizer
    let decode (ids: int[]) = tokenizer.Decode(ids, options.KeepSpecial)

    for source in TextInput.sources options.Inputs do
        if options.JsonLines then
            for ids in JsonLines.read<int[]> "a JSON array of ids" source do
                Console.WriteLine(JsonSerializer.Serialize(decode ids, plain))
        else
            Console.Write(decode (ids source))

    0
