/// The end of the main job: the trained model speaks, and what it says is measured. The built-in corpus is written by a
/// grammar, so the grammar can tell which sentences are its own, and arithmetic which sums are right.
module Legato.Cli.Recital

open System
open System.Text.Json.Nodes
open Legato.Runtime.Data
open Legato.Runtime.Generation

type Recital = {
    /// Some of the stories.
    Stories: string list
    Sentences: CorpusScore
    /// Some of the sums that training never showed, with the model's answers.
    Sums: (Sum * string) list
    HeldOutSums: CorpusScore
}

/// Texts that are written at a time.
let rows = 64

let private temperature = 0.8

// Most lines of the corpus are sums, so a text is begun as only stories begin. What is begun belongs to the sentence.
let private beginnings = [|
    "The "
    "One day, "
    "When "
    "In the morning, "
    "After lunch, "
    "Mia "
    "Tom "
    "At night, "
|]

let private longest = beginnings |> Array.map _.Length |> Array.max

/// Tokens of the shortest texts that go on from each beginning.
let shortest = longest + 2

let private asked = 200

// From all over the list: it is in order, and its beginning alone would be small numbers.
let private heldOut = lazy (Array.init asked (fun i -> Sum.HeldOut[i * Sum.HeldOut.Count / asked]))

let private isStory (line: string) = line <> "" && not (Char.IsAsciiDigit line[0])

// The last line ends where the text does.
let private wholeLines (text: string) = text.Split '\n' |> Seq.rev |> Seq.tail |> Seq.rev

let private speak (generator: Generator) (length: int) seed =
    let options =
        GenerationOptions(length - longest - 1, Sampling = Sampling(temperature), Seed = int64 (seed: uint64))

    let begun = Array.init rows (fun row -> beginnings[row % beginnings.Length])

    generator.Generate([| for start in begun -> "\n" + start |], options)
    |> Array.map2 (fun start row -> start + row.Text) begun

let private answer (generator: Generator) (sums: Sum[]) =
    let options = GenerationOptions(Sum.AnswerLength + 1, Sampling = Sampling.Greedy, Stop = [| "\n" |])
    generator.Generate([| for sum in sums -> "\n" + sum.Prompt |], options) |> Array.map _.Text

/// Lets the model write texts of `length` tokens, and answer sums that training never showed.
let perform (generator: Generator) length seed : Recital =
    let texts = speak generator length seed
    let sums = heldOut.Value
    let answers = answer generator sums

    {
        Stories = texts |> Seq.choose (wholeLines >> Seq.tryFind isStory) |> Seq.truncate 4 |> List.ofSeq
        Sentences = texts |> Array.map CorpusScore.Of |> Array.reduce (fun a b -> a + b)
        Sums = Array.zip sums answers |> Array.chunkBySize (asked / 6) |> Array.map Array.head |> List.ofArray
        HeldOutSums = CorpusScore.OfAnswers(sums, answers)
    }

let private share (part: int) (whole: int) = $"{part} of {whole} ({100.0 * float part / float (max 1 whole):F1} %%)"

let private sumLine (sum: Sum, said: string) =
    let verdict = if said = sum.Answer then "right" else $"wrong: it is {sum.Answer}"

    $"  {sum.Prompt}{said}   {verdict}"

/// What a person reads.
let print (recital: Recital) =
    printfn "\nIt speaks (temperature %.1f):" temperature
    recital.Stories |> List.iter (printfn "  %s")
    printfn "\nIt adds pairs that it was never shown."
    recital.Sums |> List.iter (sumLine >> printfn "%s")
    printfn ""
    printfn "sentences that the grammar accepts: %s" (share recital.Sentences.Accepted recital.Sentences.Sentences)
    printfn "held-out sums that are right:       %s" (share recital.HeldOutSums.Right recital.HeldOutSums.Sums)

/// What a program reads.
let entries (recital: Recital) : (string * JsonNode) list =
    let count (n: int) : JsonNode = JsonValue.Create n
    let share (x: float) : JsonNode = JsonValue.Create(Math.Round(x, 4))

    [
        "stories", JsonArray [| for story in recital.Stories -> JsonValue.Create story :> JsonNode |]
        "sentences", count recital.Sentences.Sentences
        "sentences_accepted", share recital.Sentences.AcceptedShare
        "held_out_sums", count recital.HeldOutSums.Sums
        "held_out_sums_right", share recital.HeldOutSums.RightShare
    ]
