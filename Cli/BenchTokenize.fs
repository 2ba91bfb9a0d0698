/// `legato bench tokenize`: encoding and decoding, in bytes of UTF-8 a second.
module Legato.Cli.BenchTokenize

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

/// By the tokenizer of that path, or by one trained on the built-in corpus; on other text of the corpus.
let measure (rounds: int) (path: string option) =
    let tokenizer = path |> Option.map Tokenizer.Load |> Option.defaultWith trained
    let text = Corpus.Write(2L, characters)
    let ids = tokenizer.EncodeIds text
    let bytes = float (Encoding.UTF8.GetByteCount text)

    let subject name run : Rounds.Subject = {
        Name = name
        Unit = "bytes"
        Units = bytes
        Bound = Rounds.Bound.None
        Run = run
    }

    Rounds.measure None rounds [
        subject "encode" (fun () -> tokenizer.EncodeIds text |> ignore)
        subject "decode" (fun () -> tokenizer.Decode ids |> ignore)
    ]
