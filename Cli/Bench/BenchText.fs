/// Text to measure on, larger than what Legato learns from: made-up words, as frequent as words are (Zipf's law).
module Legato.Cli.BenchText

open System
open System.Text

let private distinct = 200_000

let private consonants = [|
    ""
    "b"
    "br"
    "ch"
    "d"
    "f"
    "g"
    "h"
    "k"
    "l"
    "m"
    "n"
    "p"
    "r"
    "s"
    "st"
    "t"
    "th"
    "w"
|]

let private vowels = [| "a"; "e"; "i"; "o"; "u"; "ea" |]
let private codas = [| ""; ""; "n"; "r"; "s"; "l"; "nd"; "t" |]
let private ends = [| " "; " "; " "; " "; " "; " "; " "; " "; ", "; ". "; ".\n"; " and " |]

let private word (random: Random) =
    let pick (choices: string[]) = choices[random.Next choices.Length]
    String.Join("", Seq.init (1 + random.Next 4) (fun _ -> pick consonants + pick vowels + pick codas))

let private pieceLength = 1 <<< 20

let private piece (words: string[]) (random: Random) =
    let text = StringBuilder(pieceLength + 64)

    while text.Length < pieceLength do
        // Of ranks spread evenly by their logarithm, each is as frequent as it is small.
        let rank = int (float words.Length ** random.NextDouble()) - 1
        text.Append(words[rank]).Append(ends[random.Next ends.Length]) |> ignore

    text.ToString()

/// At least so many characters of ASCII, in pieces of a million, made when they are asked for: always the same.
let pieces (characters: int) : string seq =
    seq {
        let random = Random 1
        let words = Array.init distinct (fun _ -> word random)
        let mutable written = 0

        while written < characters do
            let next = piece words random
            written <- written + next.Length
            yield next
    }
