/// `legato bench tokenize` and `vocabulary`: encoding, decoding and training, in bytes of UTF-8 a second.
module Legato.Cli.BenchTokenize

open System
open System.Diagnostics
open System.Text
open Legato.Runtime.Data
open Legato.Runtime.Text
open Legato.Runtime.Text.Training

let private characters = 1_000_000
let private trainingCharacters = 200_000
let private vocabulary = 2048

let private trained () =
    TokenizerTrainer.Train(
        TokenizerKind.BytePair,
        [ Corpus.Write(1L, trainingCharacters) ],
        TokenizerTrainingOptions(VocabularySize = vocabulary)
    )

let private parts = 64

/// The text in parts of whole lines, for threads to share.
let private split (text: string) =
    text.Split '\n' |> Array.splitInto parts |> Array.map (fun lines -> String.Join('\n', lines) + "\n")

let private megabyte = 1_000_000

/// By the tokenizer of that path, or by one trained on the built-in corpus; on the text of a file, or on other text of the
/// corpus.
let measure (threads: int) (rounds: int) (path: string option) (file: string option) =
    let tokenizer =
        path |> Option.map (ModelSource.tokenizerOf >> Tokenizer.Load) |> Option.defaultWith trained

    let text =
        match file with
        | Some path -> TextInput.sources [ path ] |> List.map TextInput.whole |> String.concat ""
        | None -> Corpus.Write(2L, characters)

    let ids, shared = tokenizer.EncodeIds text, split text
    let letters = String('a', megabyte)
    let emoji = String.replicate (megabyte / 4) "😀"
    // What a vocabulary of characters lacks is left out, as its own library does.
    let options = EncodeOptions(SkipUncovered = true)

    let subject name (over: string) run : Rounds.Subject = {
        Name = name
        Unit = "bytes"
        Units = float (Encoding.UTF8.GetByteCount over)
        Bound = Rounds.Bound.None
        Run = [ run ]
    }

    let encoding name (over: string) = subject name over (fun () -> tokenizer.EncodeIds(over, options) |> ignore)

    Rounds.measure None rounds [
        encoding "encode, 1 thread" text
        subject $"encode, {Units.threads threads}" text (fun () ->
            tokenizer.EncodeIdsBatch(shared, options, threads) |> ignore)
        subject "decode" text (fun () -> tokenizer.Decode ids |> ignore)
        encoding "encode a megabyte of one letter" letters
        encoding "encode a megabyte of one emoji" emoji
    ]

/// What training a vocabulary took, memory being the most that the whole process has held.
type Training = { Bytes: int64; Tokens: int; Seconds: float; PeakMemory: int64 }

let private corpusBytes = 100_000_000

/// Byte-level BPE on 100 MB of generated text, the making of the text included. Once: it takes a while.
let train (tokens: int) : Training =
    let watch = Stopwatch.StartNew()

    let tokenizer =
        TokenizerTrainer.Train(
            TokenizerKind.BytePair,
            BenchText.pieces corpusBytes,
            TokenizerTrainingOptions(VocabularySize = tokens)
        )

    {
        Bytes = int64 corpusBytes
        Tokens = tokenizer.VocabularySize
        Seconds = watch.Elapsed.TotalSeconds
        PeakMemory = Process.GetCurrentProcess().PeakWorkingSet64
    }
