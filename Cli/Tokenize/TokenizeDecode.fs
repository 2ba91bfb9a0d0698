/// `legato tokenize decode`: ids to text.
module Legato.Cli.TokenizeDecode

open System
open Argu
open Legato.Runtime
open Legato.Runtime.Text

type TokenizeDecodeArgument =
    | [<MainCommand>] Input of file: string list
    | Tokenizer of path: string
    | Pattern of RankPattern.Pattern
    | Keep_Special
    | Jsonl

    interface IArgParserTemplate with
        member argument.Usage =
            match argument with
            | Input _ ->
                "files of ids, or folders of .txt files (with --jsonl, .jsonl files) (default, and -: the standard input)"
            | Tokenizer _ -> "a tokenizer file, or a folder that holds one"
            | Pattern _ -> RankPattern.usage
            | Keep_Special -> "spell special tokens too"
            | Jsonl -> "take a JSON array of ids a line; give its text as a JSON string, or {\"error\":…}, a line"

type TokenizeDecodeOptions = {
    /// Files; none: the standard input.
    Inputs: string list
    Tokenizer: string
    Pattern: RankPattern.Pattern option
    KeepSpecial: bool
    JsonLines: bool
}

let private defaults = { Inputs = []; Tokenizer = ""; Pattern = None; KeepSpecial = false; JsonLines = false }

let private where = "legato tokenize decode"

let private apply options argument =
    match argument with
    | Input paths -> { options with Inputs = options.Inputs @ paths }
    | Tokenizer path -> { options with Tokenizer = path }
    | Pattern pattern -> { options with Pattern = Some pattern }
    | Keep_Special -> { options with KeepSpecial = true }
    | Jsonl -> { options with JsonLines = true }

let options (given: ParseResults<TokenizeDecodeArgument>) : Result<TokenizeDecodeOptions, LegatoException list> =
    Arguments.options where apply defaults (fun _ options -> [ Limits.given "--tokenizer" options.Tokenizer ]) given

let private id (source: TextInput.Source) (word: string) =
    match Int32.TryParse word with
    | true, id -> id
    | _ ->
        let remedy = "write whole numbers with white space between them, or JSON arrays a line with --jsonl"
        raise (LegatoException($"'{word}' is no id", source.Name, remedy))

let private ids source =
    (TextInput.whole source).Split([| ' '; '\t'; '\r'; '\n' |], StringSplitOptions.RemoveEmptyEntries)
    |> Array.map (id source)

let run options =
    let tokenizer = RankPattern.load options.Pattern options.Tokenizer

    if options.JsonLines then
        JsonLines.answer options.Inputs (fun lines output ->
            TokenizerLines.Decode(tokenizer, lines, output, options.KeepSpecial))
    else
        for source in TextInput.sources options.Inputs do
            let ids = ids source
            Console.Write(TextInput.within source (fun () -> tokenizer.Decode(ids, options.KeepSpecial)))

        0
