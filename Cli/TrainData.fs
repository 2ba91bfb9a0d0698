/// What a model is trained on: text, its tokenizer, and the tokens.
module Legato.Cli.TrainData

open System.IO
open Legato.Cli.Train
open Legato.Runtime
open Legato.Runtime.Data
open Legato.Runtime.Text
open Legato.Runtime.Text.Training
open Legato.Runtime.Training

[<RequireQualifiedAccess>]
type Text =
    /// The stories and sums that Legato writes itself.
    | BuiltIn of string
    | Files of TextFiles

/// Of the built-in corpus, in characters: more than the main job reads, so that it sees nearly nothing twice.
let private corpusLength = 4_000_000

/// Of all tokens, the share that evaluations read and training doesn't.
let private heldOutShare = 0.02

/// Finds the text and reads it through once, so that a file that is no text is refused before anything is written.
/// <exception cref="LegatoException">A file is missing, empty or no text.</exception>
let find (options: TrainOptions) : Text =
    if options.Data.IsEmpty then
        Text.BuiltIn(Corpus.Write(int64 options.Seed, corpusLength))
    else
        let files = TextFiles.Find options.Data

        for path in files.Paths do
            TextFiles.ForEachPiece(path, TextFiles.PieceReader(fun _ -> ()))

        Text.Files files

let private pieces text =
    match text with
    | Text.BuiltIn corpus -> Seq.singleton corpus
    | Text.Files files -> TextInput.sources (List.ofSeq files.Paths) |> Seq.collect TextInput.pieces

let private learn kind options text =
    // A character that occurs once is still to be read.
    let training =
        TokenizerTrainingOptions(
            VocabularySize = options.Vocabulary,
            MinimumFrequency = 1,
            SpecialTokens = Array.ofList (TrainObjective.tokens options.Objective)
        )

    TokenizerTrainer.Train(kind, pieces text, training)

let private characters options text = learn TokenizerKind.Character { options with Vocabulary = 1 <<< 16 } text

let private ownTokenizer = "tokenizer.json"

let private load (folder: string) =
    let tokenizer = Tokenizer.Load(Path.Combine(folder, ownTokenizer))
    TrainingState.RequireTokenizer(folder, tokenizer)
    tokenizer

/// The tokenizer that the options ask for, learned from the text where it is to be.
/// <param name="checkpoint">The folder that training starts or goes on from.</param>
/// <exception cref="LegatoException">The checkpoint's tokenizer is not the one that it was trained with.</exception>
let tokenizer (options: TrainOptions) (checkpoint: string option) text : Tokenizer =
    let own = checkpoint |> Option.filter (fun folder -> File.Exists(Path.Combine(folder, ownTokenizer)))

    match options.Tokenizer, own with
    | TokenizerSource.Own, Some folder -> load folder
    | TokenizerSource.Own, None
    | TokenizerSource.Characters, _ -> characters options text
    | TokenizerSource.Bytes, _ -> learn TokenizerKind.Byte options text
    | TokenizerSource.BytePairs, _ -> learn TokenizerKind.BytePair options text
    | TokenizerSource.Saved path, _ -> Tokenizer.Load path

let tokensFile folder = Path.Combine(folder, "tokens.bin")

/// The tokens of the text. Those of files stay in the run's folder, where a resumed run finds them.
let tokens (run: RunFolder) (tokenizer: Tokenizer) text : TokenData =
    match text with
    | Text.BuiltIn corpus -> TokenData.Of(corpus, tokenizer)
    | Text.Files files ->
        let path = tokensFile run.Path

        if not (File.Exists path) then
            TokenFile.Write(path, files, tokenizer)

        TokenData.Open path

/// What is trained on, and what is held out: nothing, where evaluations are not asked for or would have less than a
/// window to read.
let split (options: TrainOptions) (sequence: int) (data: TokenData) : struct (TokenRange * TokenRange) =
    let whole = TokenRange.Split(data, heldOutShare)
    let struct (_, heldOut) = whole

    if options.EvaluateEvery > 0 && heldOut.Length > int64 sequence then
        whole
    else
        TokenRange.Split(data, 0.0)
