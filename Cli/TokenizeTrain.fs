/// `legato tokenize train`: learns a vocabulary from text.
module Legato.Cli.TokenizeTrain

open System
open System.Diagnostics
open System.IO
open Argu
open FsToolkit.ErrorHandling
open Legato.Runtime
open Legato.Runtime.Text
open Legato.Runtime.Text.Training

/// How a vocabulary is learned.
[<RequireQualifiedAccess>]
type Kind =
    | Bpe
    | Char
    | Bytes

/// How a run of digits is cut.
[<RequireQualifiedAccess>]
type Digits =
    | Pattern
    | Single
    | Grouped

/// How byte-level BPE cuts text into words.
[<RequireQualifiedAccess>]
type Pattern =
    | Gpt2
    | Cl100k
    | Llama3
    | Qwen2
    | O200k

type TokenizeTrainArgument =
    | [<MainCommand>] Input of path: string list
    | Kind of Kind
    | Vocab of tokens: int
    | Special of token: string list
    | Pattern of Pattern
    | Digits of Digits
    | Indentation of spaces: int
    | Out of dir: string
    | Quiet

    interface IArgParserTemplate with
        member argument.Usage =
            match argument with
            | Input _ -> "text files or folders to learn from (default: the standard input)"
            | Kind _ -> "byte-level BPE, one token a character, or one a byte (default: bpe)"
            | Vocab _ -> "how many tokens it may have, special ones included (default: 32000)"
            | Special _ -> "special tokens, which no text is ever cut into"
            | Pattern _ -> "whose pattern cuts text into words (default: llama3)"
            | Digits _ -> "how digits are cut: as the pattern has it, one by one, in threes (default: pattern)"
            | Indentation _ -> "the longest run of spaces sure to be one token, for code (default: 0)"
            | Out _ -> "the folder to save tokenizer.json in"
            | Quiet -> "no progress"

type TokenizeTrainOptions = {
    /// Files and folders; none: the standard input.
    Inputs: string list
    Kind: Kind
    Vocabulary: int
    Special: string list
    Pattern: Pattern
    Digits: Digits
    Indentation: int
    Out: string
    Quiet: bool
}

let private defaults = {
    Inputs = []
    Kind = Kind.Bpe
    Vocabulary = 32000
    Special = []
    Pattern = Pattern.Llama3
    Digits = Digits.Pattern
    Indentation = 0
    Out = ""
    Quiet = false
}

let private where = "legato tokenize train"

let private apply options argument =
    match argument with
    | Input paths -> { options with Inputs = options.Inputs @ paths }
    | Kind kind -> { options with Kind = kind }
    | Vocab tokens -> { options with Vocabulary = tokens }
    | Special tokens -> { options with Special = options.Special @ tokens }
    | Pattern pattern -> { options with Pattern = pattern }
    | Digits digits -> { options with Digits = digits }
    | Indentation spaces -> { options with Indentation = spaces }
    | Out folder -> { options with Out = folder }
    | Quiet -> { options with Quiet = true }

let private checks options = [
    Limits.given "--out" options.Out
    Limits.atLeast 1 "--vocab" options.Vocabulary
    Limits.atLeast 0 "--indentation" options.Indentation
]

let options (given: ParseResults<TokenizeTrainArgument>) : Result<TokenizeTrainOptions, LegatoException list> =
    result {
        let! arguments = Arguments.gather where Arguments.noConfig given
        let options = List.fold apply defaults arguments
        return! Limits.hold where (checks options) options
    }

let private kindOf kind =
    match kind with
    | Kind.Bpe -> TokenizerKind.BytePair
    | Kind.Char -> TokenizerKind.Character
    | Kind.Bytes -> TokenizerKind.Byte

let private patternOf pattern =
    match pattern with
    | Pattern.Gpt2 -> SplitPattern.Gpt2
    | Pattern.Cl100k -> SplitPattern.Cl100k
    | Pattern.Llama3 -> SplitPattern.Llama3
    | Pattern.Qwen2 -> SplitPattern.Qwen2
    | Pattern.O200k -> SplitPattern.O200k

let private digitsOf digits =
    match digits with
    | Digits.Pattern -> DigitSplitting.AsPattern
    | Digits.Single -> DigitSplitting.Single
    | Digits.Grouped -> DigitSplitting.GroupsOfThree

let private progress quiet =
    let report = Progress.phases quiet

    {
        new IProgress<TokenizerTrainingProgress> with
            member _.Report state = report state.Phase state.Done (Option.ofNullable state.Total)
    }

/// A vocabulary that models were trained with is not to be lost to a slip of the hand.
let private refuseToOverwrite folder =
    let file = Path.Combine(folder, "tokenizer.json")

    if File.Exists file then
        raise (LegatoException("there is a tokenizer already", file, "choose another folder, or delete this file"))

let run options =
    refuseToOverwrite options.Out
    let watch = Stopwatch.StartNew()
    let texts = TextInput.sources options.Inputs |> Seq.collect TextInput.pieces

    let tokenizer =
        TokenizerTrainer.Train(
            kindOf options.Kind,
            texts,
            TokenizerTrainingOptions(
                VocabularySize = options.Vocabulary,
                SpecialTokens = options.Special,
                Pattern = patternOf options.Pattern,
                Digits = digitsOf options.Digits,
                Indentation = options.Indentation,
                Progress = progress options.Quiet
            )
        )

    tokenizer.Save options.Out
    printfn "%d tokens in %s (%.1f s)" tokenizer.VocabularySize options.Out watch.Elapsed.TotalSeconds
    0
