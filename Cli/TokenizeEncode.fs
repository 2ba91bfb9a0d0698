/// `legato tokenize encode`: text to ids.
module Legato.Cli.TokenizeEncode

open System
open Argu
open FsToolkit.ErrorHandling
open Legato.Runtime
open Legato.Runtime.Text

type TokenizeEncodeArgument =
    | [<MainCommand>] Input of file: string list
    | Tokenizer of path: string
    | No_Special
    | Allow_Special
    | Forbid_Special
    | Jsonl

    interface IArgParserTemplate with
        member argument.Usage =
            match argument with
            | Input _ -> "text files (default: the standard input)"
            | Tokenizer _ -> "a tokenizer file, or a folder that holds one"
            | No_Special -> "leave out the tokens that the tokenizer adds around a text"
            | Allow_Special ->
                "read special tokens that a text spells as the tokenizer's own library does: with --jsonl the default"
            | Forbid_Special -> "take special tokens that a text spells as text: without --jsonl the default"
            | Jsonl -> "take a JSON string a line; give its ids and their offsets in characters, as JSON a line"

type TokenizeEncodeOptions = {
    /// Files; none: the standard input.
    Inputs: string list
    Tokenizer: string
    AddSpecial: bool
    /// Whether special tokens that a text spells are read as the tokenizer's own library does; None: for programs only.
    AllowSpecial: bool option
    JsonLines: bool
}

let private defaults = { Inputs = []; Tokenizer = ""; AddSpecial = true; AllowSpecial = None; JsonLines = false }

let private where = "legato tokenize encode"

let private apply options argument =
    match argument with
    | Input paths -> { options with Inputs = options.Inputs @ paths }
    | Tokenizer path -> { options with Tokenizer = path }
    | No_Special -> { options with AddSpecial = false }
    | Allow_Special -> { options with AllowSpecial = Some true }
    | Forbid_Special -> { options with AllowSpecial = Some false }
    | Jsonl -> { options with JsonLines = true }

let options (given: ParseResults<TokenizeEncodeArgument>) : Result<TokenizeEncodeOptions, LegatoException list> =
    result {
        let! arguments = Arguments.gather where Arguments.noConfig given
        let options = List.fold apply defaults arguments

        let checks = [
            Limits.given "--tokenizer" options.Tokenizer
            Limits.notBoth
                ("--allow-special", List.contains Allow_Special arguments)
                ("--forbid-special", List.contains Forbid_Special arguments)
        ]

        return! Limits.hold where checks options
    }

// Programs get the ids of the tokenizer's own library; text from people never turns into special tokens unasked.
let private howTo options =
    let allows = options.AllowSpecial |> Option.defaultValue options.JsonLines

    EncodeOptions(
        WithoutAddedTokens = not options.AddSpecial,
        SkipUncovered = options.JsonLines,
        SpecialTokens = if allows then SpecialTokensInText.AsShipped else SpecialTokensInText.AsText
    )

let run options =
    let tokenizer = Text.Tokenizer.Load options.Tokenizer
    let howTo = howTo options

    if options.JsonLines then
        JsonLines.answer options.Inputs (fun lines output -> TokenizerLines.Encode(tokenizer, lines, output, howTo))
    else
        for source in TextInput.sources options.Inputs do
            Console.WriteLine(String.Join(' ', tokenizer.EncodeIds(TextInput.whole source, howTo)))

    0
