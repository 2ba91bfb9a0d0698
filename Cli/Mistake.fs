/// A user's mistake as a value: what is wrong, where, and the remedy.
module Legato.Cli.Mistake

open System
open Legato.Runtime

let at (where: string) (remedy: string) (what: string) = LegatoException(what, where, remedy)

/// How many letters must be inserted, removed or replaced to turn one word into the other (Levenshtein 1966).
let private distance (a: string) (b: string) =
    let row = Array.init (b.Length + 1) id

    for i in 1 .. a.Length do
        let mutable diagonal = row[0]
        row[0] <- i

        for j in 1 .. b.Length do
            let replace = diagonal + (if a[i - 1] = b[j - 1] then 0 else 1)
            diagonal <- row[j]
            row[j] <- min replace (1 + min row[j] row[j - 1])

    row[b.Length]

/// The known word that is most like the given one, if any is like it at all.
let nearest (known: string seq) (given: string) =
    let near =
        known
        |> Seq.map (fun word -> word, distance word given)
        |> Seq.filter (fun (word, letters) -> letters <= max 1 ((word.TrimStart('-').Length - 1) / 2))
        |> List.ofSeq

    if near.IsEmpty then None else Some(fst (List.minBy snd near))

/// The remedy for an unknown name: the nearest known one, or all of them.
let chooseAmong (known: string seq) given =
    match nearest known given with
    | Some word -> $"did you mean {word}?"
    | None -> "known are: " + String.Join(", ", known)
