/// `legato tokenize train`: learns a vocabulary from text.
module Legato.Cli.TokenizeTrain

open System
open System.Diagnostics
open System.IO
open Argu
open Legato.Cli.Repeatable
open Legato.Runtime
open Legato.Runtime.Text
open Legato.Runtime.Text.Training

/// How a vocabulary is learned.
[<RequireQualifiedAccess>]
type Kind =
    | Bpe
    | Word_Bpe
    | WordPiece
    | Unigram
    | Char
    | Bytes

/// How a run of digits is cut.
[<RequireQualifiedAccess>]
type Digits =
    | Pattern
    | Single
    | Grouped

type TokenizeTrainArgument =
    | [<MainCommand>] Input of path: string list
    | Kind of Kind
    | Vocab of tokens: int
    | [<Repeatable>] Special of token: string
    | Pattern of RankPattern.Pattern
    | Digits of Digits
    | Indentation of spaces: int
    | Min_Frequency of count: int
    | Alphabet of characters: int
    | Cased
    | Out of dir: string
    | Quiet

    interface IArgParserTemplate with
        member argument.Usage =
            match argument with
            | Input _ -> "text files or folders to learn from (default: the standard input)"
            | Kind _ ->
                "byte-level BPE, BPE over words, WordPiece, Unigram, one token a character, or one a byte (default: bpe)"
            | Vocab _ -> "how many tokens it may have, special ones included (default: 32000; not bytes)"
            | Special _ ->
                "a special token, which no text is ever cut into; give the flag for each. All but bpe and bytes get <unk> (wordpiece: [UNK]) by themselves"
            | Pattern _ -> "whose pattern cuts text into words: bpe only (default: llama3)"
            | Digits _ ->
                "how digits are cut: as the kind or its pattern has it, one by one, in threes (default: pattern)"
            | Indentation _ -> "the longest run of spaces sure to be one token, for code: bpe only (default: 0)"
            | Min_Frequency _ -> "what occurs less often is not learned (default: 2)"
            | Alphabet _ ->
                "how many characters may have tokens of their own: word-bpe, wordpiece, unigram (default: 4096)"
            | Cased -> "keep upper case and accents: wordpiece only"
            | Out _ -> "the folder to save tokenizer.json in"
            | Quiet -> "no progress"

type TokenizeTrainOptions = {
    /// Files and folders; none: the standard input.
    Inputs: string list
    Kind: Kind
    /// None, here and below: the trainer's own default.
    Vocabulary: int option
    Special: string list
    Pattern: RankPattern.Pattern option
    Digits: Digits option
    Indentation: int option
    MinimumFrequency: int option
    Alphabet: int option
    Cased: bool
    Out: string
    Quiet: bool
}

let private defaults = {
    Inputs = []
    Kind = Kind.Bpe
    Vocabulary = None
    Special = []
    Pattern = None
    Digits = None
    Indentation = None
    MinimumFrequency = None
    Alphabet = None
    Cased = false
    Out = ""
    Quiet = false
}

let private where = "legato tokenize train"

let private apply options argument =
    match argument with
    | Input paths -> { options with Inputs = options.Inputs @ paths }
    | Kind kind -> { options with Kind = kind }
    | Vocab tokens -> { options with Vocabulary = Some tokens }
    | Special token -> { options with Special = options.Special @ [ token ] }
    | Pattern pattern -> { options with Pattern = Some pattern }
    | Digits digits -> { options with Digits = Some digits }
    | Indentation spaces -> { options with Indentation = Some spaces }
    | Min_Frequency count -> { options with MinimumFrequency = Some count }
    | Alphabet characters -> { options with Alphabet = Some characters }
    | Cased -> { options with Cased = true }
    | Out folder -> { options with Out = folder }
    | Quiet -> { options with Quiet = true }

let private learned = [ Kind.Bpe; Kind.Word_Bpe; Kind.WordPiece; Kind.Unigram ]

/// A flag that the kind doesn't read would be a wish that nobody hears.
let private heard kinds flag isGiven options =
    let spelled (kind: Kind) = kind.ToString().Replace('_', '-').ToLowerInvariant()
    let readers = List.map spelled kinds
    Limits.readBy (List.contains options.Kind kinds) flag isGiven $"--kind {spelled options.Kind}" readers

let private checks (arguments: TokenizeTrainArgument list) options = [
    Limits.namedPlace "--out" (arguments |> List.exists _.IsOut) options.Out
    Limits.optional (Limits.atLeast 1) "--vocab" options.Vocabulary
    Limits.optional (Limits.atLeast 0) "--indentation" options.Indentation
    Limits.optional (Limits.atLeast 1) "--min-frequency" options.MinimumFrequency
    Limits.optional (Limits.atLeast 1) "--alphabet" options.Alphabet
    heard [ Kind.Bpe ] "--pattern" options.Pattern.IsSome options
    heard [ Kind.Bpe ] "--indentation" options.Indentation.IsSome options
    heard (Kind.Char :: learned) "--vocab" options.Vocabulary.IsSome options
    heard [ Kind.WordPiece ] "--cased" options.Cased options
    heard learned "--digits" options.Digits.IsSome options
    heard learned "--min-frequency" options.MinimumFrequency.IsSome options
    heard learned.Tail "--alphabet" options.Alphabet.IsSome options
]

let options (given: ParseResults<TokenizeTrainArgument>) : Result<TokenizeTrainOptions, LegatoException list> =
    Arguments.options where apply defaults checks given

let private kindOf kind =
    match kind with
    | Kind.Bpe -> TokenizerKind.BytePair
    | Kind.Word_Bpe -> TokenizerKind.WordBytePair
    | Kind.WordPiece -> TokenizerKind.WordPiece
    | Kind.Unigram -> TokenizerKind.Unigram
    | Kind.Char -> TokenizerKind.Character
    | Kind.Bytes -> TokenizerKind.Byte

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

let private unknowns = [ "<unk>"; "[UNK]" ]

/// Where a text may have characters that the corpus hasn't, there is a token for them. Other kinds see to it themselves.
let private special (options: TokenizeTrainOptions) =
    match options.Kind with
    | Kind.Word_Bpe
    | Kind.Char when not (options.Special |> List.exists (fun token -> List.contains token unknowns)) ->
        unknowns.Head :: options.Special
    | _ -> options.Special

let private training (options: TokenizeTrainOptions) =
    let standard = TokenizerTrainingOptions()

    TokenizerTrainingOptions(
        VocabularySize = Option.defaultValue standard.VocabularySize options.Vocabulary,
        SpecialTokens = special options,
        Pattern = (options.Pattern |> Option.map RankPattern.ofName |> Option.defaultValue standard.Pattern),
        Digits = (options.Digits |> Option.map digitsOf |> Option.defaultValue standard.Digits),
        Indentation = Option.defaultValue standard.Indentation options.Indentation,
        MinimumFrequency = Option.defaultValue standard.MinimumFrequency options.MinimumFrequency,
        AlphabetLimit = Option.defaultValue standard.AlphabetLimit options.Alphabet,
        Lowercase = not options.Cased,
        Progress = progress options.Quiet
    )

/// A vocabulary that was asked for and isn't there is told of.
let private sayUnmet options wanted (made: int) =
    let isAsked = options.Vocabulary.IsSome || List.contains options.Kind learned

    if isAsked && made < wanted then
        let lacks =
            if options.Kind = Kind.Char then
                "has no more characters"
            else
                "is too small or too uniform for more"

        eprintfn "note: %s, not %d: the text %s" (Units.tokens made) wanted lacks

let private learn options =
    let watch = Stopwatch.StartNew()
    let isEmpty = ref true

    let texts =
        TextInput.sources options.Inputs
        |> Seq.collect TextInput.pieces
        |> Seq.map (fun text ->
            isEmpty.Value <- isEmpty.Value && text = ""
            text)

    let kind = kindOf options.Kind
    let training = training options
    let tokenizer = TokenizerTrainer.Train(kind, texts, training)

    // Bytes are known without a text: none is read.
    if isEmpty.Value && kind <> TokenizerKind.Byte then
        raise (LegatoException("the text is empty", "the input", "give files or a folder with text to learn from"))

    tokenizer.Save options.Out
    sayUnmet options training.VocabularySize tokenizer.VocabularySize
    printfn "%s in %s (%.1f s)" (Units.tokens tokenizer.VocabularySize) options.Out watch.Elapsed.TotalSeconds
    0

let run options =
    refuseToOverwrite options.Out
    // Told before the work and not after it, when all is done and can't be saved.
    Checkpoints.AtomicWrite.TryFolder options.Out
    learn options
