/// `legato tokenize`: trains tokenizers, turns text into ids and back, compares tokenizers, renders chats.
module Legato.Cli.Tokenize

open Argu
open FsToolkit.ErrorHandling
open Legato.Runtime

[<RequireSubcommand>]
type TokenizeArgument =
    | [<CliPrefix(CliPrefix.None)>] Train of ParseResults<TokenizeTrain.TokenizeTrainArgument>
    | [<CliPrefix(CliPrefix.None)>] Encode of ParseResults<TokenizeEncode.TokenizeEncodeArgument>
    | [<CliPrefix(CliPrefix.None)>] Decode of ParseResults<TokenizeDecode.TokenizeDecodeArgument>
    | [<CliPrefix(CliPrefix.None)>] Stats of ParseResults<TokenizeStats.TokenizeStatsArgument>
    | [<CliPrefix(CliPrefix.None)>] Chat of ParseResults<TokenizeChat.TokenizeChatArgument>

    interface IArgParserTemplate with
        member argument.Usage =
            match argument with
            | Train _ -> "learn a vocabulary from text"
            | Encode _ -> "text to ids"
            | Decode _ -> "ids to text"
            | Stats _ -> "how well tokenizers fit texts, side by side"
            | Chat _ -> "chats to the text that a model is fed"

/// What `legato tokenize` is asked to do.
[<RequireQualifiedAccess>]
type TokenizeOptions =
    | Train of TokenizeTrain.TokenizeTrainOptions
    | Encode of TokenizeEncode.TokenizeEncodeOptions
    | Decode of TokenizeDecode.TokenizeDecodeOptions
    | Stats of TokenizeStats.TokenizeStatsOptions
    | Chat of TokenizeChat.TokenizeChatOptions

let options (given: ParseResults<TokenizeArgument>) : Result<TokenizeOptions, LegatoException list> =
    match given.GetSubCommand() with
    | Train flags -> TokenizeTrain.options flags |> Result.map TokenizeOptions.Train
    | Encode flags -> TokenizeEncode.options flags |> Result.map TokenizeOptions.Encode
    | Decode flags -> TokenizeDecode.options flags |> Result.map TokenizeOptions.Decode
    | Stats flags -> TokenizeStats.options flags |> Result.map TokenizeOptions.Stats
    | Chat flags -> TokenizeChat.options flags |> Result.map TokenizeOptions.Chat

let run options =
    match options with
    | TokenizeOptions.Train options -> TokenizeTrain.run options
    | TokenizeOptions.Encode options -> TokenizeEncode.run options
    | TokenizeOptions.Decode options -> TokenizeDecode.run options
    | TokenizeOptions.Stats options -> TokenizeStats.run options
    | TokenizeOptions.Chat options -> TokenizeChat.run options
