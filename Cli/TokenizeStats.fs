/// `legato tokenize stats`: how well tokenizers fit texts, side by side.
module Legato.Cli.TokenizeStats

open System
open System.Text
open Argu
open FsToolkit.ErrorHandling
open Legato.Runtime
open Legato.Runtime.Text

type TokenizeStatsArgument =
    | [<MainCommand>] Input of path: string list
    | Tokenizer of path: string list
    | Json

    interface IArgParserTemplate with
        member argument.Usage =
            match argument with
            | Input _ -> "text files or folders (default: the standard input)"
            | Tokenizer _ -> "tokenizers to compare, each a file or a folder that holds one"
            | Json -> "print the figures as JSON"

type TokenizeStatsOptions = {
    /// Files and folders; none: the standard input.
    Inputs: string list
    Tokenizers: string list
    Json: bool
}

let private defaults = { Inputs = []; Tokenizers = []; Json = false }

let private where = "legato tokenize stats"

let private apply options argument =
    match argument with
    | Input paths -> { options with Inputs = options.Inputs @ paths }
    | Tokenizer paths -> { options with Tokenizers = options.Tokenizers @ paths }
    | Json -> { options with Json = true }

let options (given: ParseResults<TokenizeStatsArgument>) : Result<TokenizeStatsOptions, LegatoException list> =
    result {
        let! arguments = Arguments.gather where Arguments.noConfig given
        let options = List.fold apply defaults arguments
        let named = String.concat " " options.Tokenizers
        return! Limits.hold where [ Limits.given "--tokenizer" named ] options
    }

/// What a tokenizer makes of a text.
type Fit = {
    Bytes: int64
    /// Parts between white space.
    Words: int64
    Tokens: int64
    /// Tokens that stand for text that the vocabulary doesn't have.
    Unknown: int64
    /// The text comes back from its ids as it was.
    Exact: bool
} with

    static member None = { Bytes = 0L; Words = 0L; Tokens = 0L; Unknown = 0L; Exact = true }

    static member (+)(a, b) = {
        Bytes = a.Bytes + b.Bytes
        Words = a.Words + b.Words
        Tokens = a.Tokens + b.Tokens
        Unknown = a.Unknown + b.Unknown
        Exact = a.Exact && b.Exact
    }

    member fit.BytesPerToken = float fit.Bytes / float (max 1L fit.Tokens)

    /// Fertility.
    member fit.TokensPerWord = float fit.Tokens / float (max 1L fit.Words)

/// A text that no token covers is left out, and shows as inexact.
let private howTo = EncodeOptions(WithoutAddedTokens = true, SkipUncovered = true)

let private words (text: string) =
    let mutable count = 0L
    let mutable isInside = false

    for character in text do
        let isWord = not (Char.IsWhiteSpace character)

        if isWord && not isInside then
            count <- count + 1L

        isInside <- isWord

    count

let private fit (tokenizer: Tokenizer) (text: string) =
    let ids = tokenizer.EncodeIds(text, howTo)
    let isUnknown id = Nullable.Equals(tokenizer.UnknownId, Nullable id)

    {
        Bytes = int64 (Encoding.UTF8.GetByteCount text)
        Words = words text
        Tokens = int64 ids.Length
        Unknown = ids |> Array.sumBy (fun id -> if isUnknown id then 1L else 0L)
        Exact = (tokenizer.Decode ids = text)
    }

type Row = { Tokenizer: string; Text: string; Fit: Fit }

/// Each text is read once, whatever the number of tokenizers.
let private measure (tokenizers: (string * Tokenizer) list) (source: TextInput.Source) =
    let fits = tokenizers |> List.map (fun _ -> Fit.None) |> Array.ofList

    for piece in TextInput.pieces source do
        tokenizers |> List.iteri (fun i (_, tokenizer) -> fits[i] <- fits[i] + fit tokenizer piece)

    tokenizers |> List.mapi (fun i (name, _) -> { Tokenizer = name; Text = source.Name; Fit = fits[i] })

let private totals rows =
    rows
    |> List.groupBy _.Tokenizer
    |> List.map (fun (name, rows) -> {
        Tokenizer = name
        Text = "all"
        Fit = rows |> List.map _.Fit |> List.reduce (+)
    })

let private print (rows: Row list) =
    let nameWidth = rows |> List.map _.Tokenizer.Length |> List.max
    let textWidth = rows |> List.map _.Text.Length |> List.max
    let heading = "tokenizer".PadRight nameWidth

    printfn
        "%s  %s       bytes      tokens  bytes/token  tokens/word   unknown  exact"
        heading
        ("text".PadRight textWidth)

    for row in rows do
        let fit = row.Fit

        let name, text =
            row.Tokenizer.PadRight(max nameWidth heading.Length), row.Text.PadRight(max textWidth 4)

        let exact = if fit.Exact then "yes" else "no"
        printf "%s  %s %11d %11d" name text fit.Bytes fit.Tokens
        printfn "  %11.2f  %11.2f %9d  %5s" fit.BytesPerToken fit.TokensPerWord fit.Unknown exact

/// The same as a program reads it.
let private figures row = {|
    Tokenizer = row.Tokenizer
    Text = row.Text
    Bytes = row.Fit.Bytes
    Words = row.Fit.Words
    Tokens = row.Fit.Tokens
    BytesPerToken = row.Fit.BytesPerToken
    TokensPerWord = row.Fit.TokensPerWord
    Unknown = row.Fit.Unknown
    Exact = row.Fit.Exact
|}

let run options =
    let tokenizers = options.Tokenizers |> List.map (fun path -> path, Text.Tokenizer.Load path)
    let rows = TextInput.sources options.Inputs |> List.collect (measure tokenizers)
    let isOneText = rows.Length = tokenizers.Length
    let rows = if isOneText then rows else rows @ totals rows

    if options.Json then JsonOutput.print (List.map figures rows) else print rows

    0
