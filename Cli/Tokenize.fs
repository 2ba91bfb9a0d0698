/// `legato tokenize`: trains tokenizers, turns text into ids and back, compares tokenizers, renders chats.
module Legato.Cli.Tokenize

open Argu
open FsToolkit.ErrorHandling
open Legato.Runtime

/// How a vocabulary is learned.
[<RequireQualifiedAccess>]
type Kind =
    | Bpe
    | Word_Bpe
    | Wordpiece
    | Unigram
    | Char

/// How a run of digits is cut.
[<RequireQualifiedAccess>]
type Digits =
    | Pattern
    | Single
    | Grouped

type LearnArgument =
    | [<MainCommand>] Input of path: string list
    | Kind of Kind
    | Vocab of tokens: int
    | Special of token: string list
    | Digits of Digits
    | Out of dir: string
    | Quiet

    interface IArgParserTemplate with
        member argument.Usage =
            match argument with
            | Input _ -> "text files or folders to learn from (default: the standard input)"
            | Kind _ -> "how the vocabulary is learned (default: bpe, byte-level)"
            | Vocab _ -> "how many tokens it shall have (default: 32000)"
            | Special _ -> "special tokens, which no text is ever cut into"
            | Digits _ -> "how digits are cut: as the pattern has it, one by one, or in threes (default: pattern)"
            | Out _ -> "the folder to save tokenizer.json in"
            | Quiet -> "no progress"

type EncodeArgument =
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
            | Allow_Special -> "let special tokens spelled in the text become tokens"
            | Jsonl -> "read a JSON string a line, print its ids and offsets as JSON a line"

type DecodeArgument =
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
            | Jsonl -> "read a JSON array of ids a line, print its text as a JSON string a line"

type StatsArgument =
    | [<MainCommand>] Input of path: string list
    | Tokenizer of path: string list
    | Json

    interface IArgParserTemplate with
        member argument.Usage =
            match argument with
            | Input _ -> "text files or folders (default: the standard input)"
            | Tokenizer _ -> "tokenizers to compare, each a file or a folder that holds one"
            | Json -> "print the figures as JSON"

type ChatArgument =
    | [<MainCommand>] Input of file: string list
    | Template of file: string
    | Jsonl

    interface IArgParserTemplate with
        member argument.Usage =
            match argument with
            | Input _ -> "files with a conversation in JSON (default: the standard input)"
            | Template _ -> "a Jinja template, or a tokenizer_config.json or a folder that holds one"
            | Jsonl -> "read a conversation a line, print its text, or an error, as JSON a line"

[<RequireSubcommand>]
type TokenizeArgument =
    | [<CliPrefix(CliPrefix.None)>] Train of ParseResults<LearnArgument>
    | [<CliPrefix(CliPrefix.None)>] Encode of ParseResults<EncodeArgument>
    | [<CliPrefix(CliPrefix.None)>] Decode of ParseResults<DecodeArgument>
    | [<CliPrefix(CliPrefix.None)>] Stats of ParseResults<StatsArgument>
    | [<CliPrefix(CliPrefix.None)>] Chat of ParseResults<ChatArgument>

    interface IArgParserTemplate with
        member argument.Usage =
            match argument with
            | Train _ -> "learn a vocabulary from text"
            | Encode _ -> "text to ids"
            | Decode _ -> "ids to text"
            | Stats _ -> "how well tokenizers fit a text, side by side"
            | Chat _ -> "a conversation to the text that a model reads"

type LearnOptions = {
    /// Files and folders; none: the standard input.
    Inputs: string list
    Kind: Kind
    Vocabulary: int
    Special: string list
    Digits: Digits
    Out: string
    Quiet: bool
}

type EncodeOptions = {
    /// Files; none: the standard input.
    Inputs: string list
    Tokenizer: string
    AddSpecial: bool
    AllowSpecial: bool
    JsonLines: bool
}

type DecodeOptions = {
    /// Files; none: the standard input.
    Inputs: string list
    Tokenizer: string
    KeepSpecial: bool
    JsonLines: bool
}

type StatsOptions = {
    /// Files and folders; none: the standard input.
    Inputs: string list
    Tokenizers: string list
    Json: bool
}

type ChatOptions = {
    /// Files; none: the standard input.
    Inputs: string list
    Template: string
    JsonLines: bool
}

/// What `legato tokenize` is asked to do.
[<RequireQualifiedAccess>]
type TokenizeOptions =
    | Learn of LearnOptions
    | Encode of EncodeOptions
    | Decode of DecodeOptions
    | Stats of StatsOptions
    | Chat of ChatOptions

let private where action = "legato tokenize " + action

let private learn (given: ParseResults<LearnArgument>) =
    let apply (options: LearnOptions) argument =
        match argument with
        | LearnArgument.Input paths -> { options with Inputs = options.Inputs @ paths }
        | LearnArgument.Kind kind -> { options with Kind = kind }
        | LearnArgument.Vocab tokens -> { options with Vocabulary = tokens }
        | LearnArgument.Special tokens -> { options with Special = options.Special @ tokens }
        | LearnArgument.Digits digits -> { options with Digits = digits }
        | LearnArgument.Out folder -> { options with Out = folder }
        | LearnArgument.Quiet -> { options with Quiet = true }

    let defaults = {
        Inputs = []
        Kind = Kind.Bpe
        Vocabulary = 32000
        Special = []
        Digits = Digits.Pattern
        Out = ""
        Quiet = false
    }

    let checks options = [ Limits.given "--out" options.Out; Limits.atLeast 1 "--vocab" options.Vocabulary ]

    result {
        let! arguments = Arguments.gather (where "train") Arguments.noConfig given
        let options = List.fold apply defaults arguments
        return! Limits.hold (where "train") (checks options) (TokenizeOptions.Learn options)
    }

let private encode (given: ParseResults<EncodeArgument>) =
    let apply (options: EncodeOptions) argument =
        match argument with
        | EncodeArgument.Input paths -> { options with Inputs = options.Inputs @ paths }
        | EncodeArgument.Tokenizer path -> { options with Tokenizer = path }
        | EncodeArgument.No_Special -> { options with AddSpecial = false }
        | EncodeArgument.Allow_Special -> { options with AllowSpecial = true }
        | EncodeArgument.Jsonl -> { options with JsonLines = true }

    let defaults = {
        Inputs = []
        Tokenizer = ""
        AddSpecial = true
        AllowSpecial = false
        JsonLines = false
    }

    result {
        let! arguments = Arguments.gather (where "encode") Arguments.noConfig given
        let options = List.fold apply defaults arguments
        let checks = [ Limits.given "--tokenizer" options.Tokenizer ]
        return! Limits.hold (where "encode") checks (TokenizeOptions.Encode options)
    }

let private decode (given: ParseResults<DecodeArgument>) =
    let apply (options: DecodeOptions) argument =
        match argument with
        | DecodeArgument.Input paths -> { options with Inputs = options.Inputs @ paths }
        | DecodeArgument.Tokenizer path -> { options with Tokenizer = path }
        | DecodeArgument.Keep_Special -> { options with KeepSpecial = true }
        | DecodeArgument.Jsonl -> { options with JsonLines = true }

    let defaults = { Inputs = []; Tokenizer = ""; KeepSpecial = false; JsonLines = false }

    result {
        let! arguments = Arguments.gather (where "decode") Arguments.noConfig given
        let options = List.fold apply defaults arguments
        let checks = [ Limits.given "--tokenizer" options.Tokenizer ]
        return! Limits.hold (where "decode") checks (TokenizeOptions.Decode options)
    }

let private stats (given: ParseResults<StatsArgument>) =
    let apply (options: StatsOptions) argument =
        match argument with
        | StatsArgument.Input paths -> { options with Inputs = options.Inputs @ paths }
        | StatsArgument.Tokenizer paths -> { options with Tokenizers = options.Tokenizers @ paths }
        | StatsArgument.Json -> { options with Json = true }

    let defaults: StatsOptions = { Inputs = []; Tokenizers = []; Json = false }

    result {
        let! arguments = Arguments.gather (where "stats") Arguments.noConfig given
        let options = List.fold apply defaults arguments
        let checks = [ Limits.given "--tokenizer" (String.concat " " options.Tokenizers) ]
        return! Limits.hold (where "stats") checks (TokenizeOptions.Stats options)
    }

let private chat (given: ParseResults<ChatArgument>) =
    let apply (options: ChatOptions) argument =
        match argument with
        | ChatArgument.Input paths -> { options with Inputs = options.Inputs @ paths }
        | ChatArgument.Template path -> { options with Template = path }
        | ChatArgument.Jsonl -> { options with JsonLines = true }

    let defaults: ChatOptions = { Inputs = []; Template = ""; JsonLines = false }

    result {
        let! arguments = Arguments.gather (where "chat") Arguments.noConfig given
        let options = List.fold apply defaults arguments
        let checks = [ Limits.given "--template" options.Template ]
        return! Limits.hold (where "chat") checks (TokenizeOptions.Chat options)
    }

/// The task that a command line asks for; or everything that is wrong with it.
let options (given: ParseResults<TokenizeArgument>) : Result<TokenizeOptions, LegatoException list> =
    match given.GetSubCommand() with
    | Train action -> learn action
    | Encode action -> encode action
    | Decode action -> decode action
    | Stats action -> stats action
    | Chat action -> chat action

let run (_: TokenizeOptions) : int = raise (LegatoException("this build cannot do this yet", "legato tokenize"))
