/// `legato tokenize encode`: text to ids.
module Legato.Cli.TokenizeEncode

open System
open System.IO
open Argu
open Legato.Runtime
open Legato.Runtime.Text

type TokenizeEncodeArgument =
    | [<MainCommand>] Input of file: string list
    | Tokenizer of path: string
    | Pattern of RankPattern.Pattern
    | No_Special
    | Allow_Special
    | Forbid_Special
    | Jsonl

    interface IArgParserTemplate with
        member argument.Usage =
            match argument with
            | Input _ ->
                "text files, or folders of .txt files (with --jsonl, .jsonl files) (default, and -: the standard input); a byte order mark before a text isn't encoded"
            | Tokenizer _ -> "a tokenizer file, or a folder that holds one"
            | Pattern _ -> RankPattern.usage
            | No_Special -> "leave out the tokens that the tokenizer adds around a text"
            | Allow_Special ->
                "special tokens that a text spells become those tokens (with --jsonl the default is what the tokenizer's own library does)"
            | Forbid_Special -> "special tokens that a text spells stay text: without --jsonl the default"
            | Jsonl ->
                "take a JSON string a line; give its ids and their offsets in characters as JSON, or {\"error\":…}, a line"

type TokenizeEncodeOptions = {
    /// Files; none: the standard input.
    Inputs: string list
    Tokenizer: string
    Pattern: RankPattern.Pattern option
    AddSpecial: bool
    /// Whether special tokens that a text spells become those tokens; None: for programs, as the tokenizer's own library has it.
    AllowSpecial: bool option
    JsonLines: bool
}

let private defaults = {
    Inputs = []
    Tokenizer = ""
    Pattern = None
    AddSpecial = true
    AllowSpecial = None
    JsonLines = false
}

let private where = "legato tokenize encode"

let private apply options argument =
    match argument with
    | Input paths -> { options with Inputs = options.Inputs @ paths }
    | Tokenizer path -> { options with Tokenizer = path }
    | Pattern pattern -> { options with Pattern = Some pattern }
    | No_Special -> { options with AddSpecial = false }
    | Allow_Special -> { options with AllowSpecial = Some true }
    | Forbid_Special -> { options with AllowSpecial = Some false }
    | Jsonl -> { options with JsonLines = true }

// A text in the place of a file is a common slip, and "no such file" doesn't say where text comes from.
let private requireThere path where =
    if path = TextInput.dash || Path.Exists path then
        None
    else
        $"there is no such file or folder as '{path}'"
        |> Mistake.at
            where
            $"give a file with the text, or the text itself on the standard input: echo TEXT | {where} …"
        |> Some

let private checks arguments options = [
    Limits.given "--tokenizer" options.Tokenizer
    Limits.notBoth
        ("--allow-special", List.contains Allow_Special arguments)
        ("--forbid-special", List.contains Forbid_Special arguments)
    for path in options.Inputs do
        requireThere path
]

let options (given: ParseResults<TokenizeEncodeArgument>) : Result<TokenizeEncodeOptions, LegatoException list> =
    Arguments.options where apply defaults checks given

// Programs get the ids of the tokenizer's own library; text from people never turns into special tokens unasked.
let private specialTokens options =
    match options.AllowSpecial, options.JsonLines with
    | Some true, _ -> SpecialTokensInText.Recognise
    | None, true -> SpecialTokensInText.AsShipped
    | Some false, _
    | None, false -> SpecialTokensInText.AsText

let private howTo options =
    EncodeOptions(
        WithoutAddedTokens = not options.AddSpecial,
        SkipUncovered = options.JsonLines,
        SpecialTokens = specialTokens options
    )

let run options =
    let tokenizer = RankPattern.load options.Pattern options.Tokenizer
    let howTo = howTo options

    if options.JsonLines then
        JsonLines.answer options.Inputs (fun lines output -> TokenizerLines.Encode(tokenizer, lines, output, howTo))
    else
        for source in TextInput.sources options.Inputs do
            let text = TextInput.whole source
            let ids = TextInput.within source (fun () -> tokenizer.EncodeIds(text, howTo))
            Console.WriteLine(String.Join(' ', ids))

        0
