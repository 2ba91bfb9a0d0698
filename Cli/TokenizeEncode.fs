/// `legato tokenize encode`: text to ids.
module Legato.Cli.TokenizeEncode

open System
open System.Text.Json
open Argu
open FsToolkit.ErrorHandling
open Legato.Runtime
open Legato.Runtime.Text

type TokenizeEncodeArgument =
    | [<MainCommand>] Input of file: string list
    | Tokenizer of path: string
    | No_Special
    | Allow_Special
    | Jsonl

    interface IArgParserTemplate with
        member argument.Usage =
            match argument with
            | Input _ -> "text files (default: the standard input)"
            | Tokenizer _ -> "a tokenizer file, or a folder that holds one"
            | No_Special -> "leave out the tokens that the tokenizer adds around a text"
            | Allow_Special -> "read special tokens that a text spells as the tokenizer's own library does"
            | Jsonl -> "take a JSON string a line; give its ids and their offsets in characters, as JSON a line"

type TokenizeEncodeOptions = {
    /// Files; none: the standard input.
    Inputs: string list
    Tokenizer: string
    AddSpecial: bool
    AllowSpecial: bool
    JsonLines: bool
}

let private defaults = {
    Inputs = []
    Tokenizer = ""
    AddSpecial = true
    AllowSpecial = false
    JsonLines = false
}

let private where = "legato tokenize encode"

let private apply options argument =
    match argument with
    | Input paths -> { options with Inputs = options.Inputs @ paths }
    | Tokenizer path -> { options with Tokenizer = path }
    | No_Special -> { options with AddSpecial = false }
    | Allow_Special -> { options with AllowSpecial = true }
    | Jsonl -> { options with JsonLines = true }

let options (given: ParseResults<TokenizeEncodeArgument>) : Result<TokenizeEncodeOptions, LegatoException list> =
    result {
        let! arguments = Arguments.gather where Arguments.noConfig given
        let options = List.fold apply defaults arguments
        return! Limits.hold where [ Limits.given "--tokenizer" options.Tokenizer ] options
    }

let private howTo options =
    EncodeOptions(
        WithoutAddedTokens = not options.AddSpecial,
        SpecialTokens =
            if options.AllowSpecial then
                SpecialTokensInText.AsShipped
            else
                SpecialTokensInText.AsText
    )

/// For each position in UTF-16 code units, and for the end, how many characters lie before it.
let private charactersBefore (text: string) =
    let before = Array.zeroCreate (text.Length + 1)

    for i in 1 .. text.Length do
        let endsPair = i < text.Length && Char.IsSurrogatePair(text[i - 1], text[i])
        before[i] <- before[i - 1] + (if endsPair then 0 else 1)

    before

let private line (tokenizer: Tokenizer) howTo (text: string) =
    let encoded = tokenizer.Encode(text, howTo)
    let before = charactersBefore text
    let offsets = encoded.Offsets |> Array.map (fun span -> [| before[span.Start]; before[span.End] |])
    JsonSerializer.Serialize {| ids = encoded.Ids; offsets = offsets |}

let run options =
    let tokenizer = Text.Tokenizer.Load options.Tokenizer
    let howTo = howTo options

    for source in TextInput.sources options.Inputs do
        if options.JsonLines then
            for text in JsonLines.read<string> "a JSON string" source do
                Console.WriteLine(line tokenizer howTo text)
        else
            Console.WriteLine(String.Join(' ', tokenizer.EncodeIds(TextInput.whole source, howTo)))

    0
