/// A verb's help without what one of its callers refuses: a script declares its model, and has no flag that names or changes one.
module Legato.Cli.HelpText

open System
open System.Text

/// Columns of the help text: fixed, so that it reads the same everywhere.
let width = 100

/// The pieces of a usage line: what stands in brackets, those within it included, or between blanks.
let private pieces (usage: string) =
    let found = ResizeArray<string>()
    let piece = StringBuilder()
    let mutable depth = 0

    for letter in usage + " " do
        if letter = '[' then
            depth <- depth + 1
        elif letter = ']' then
            depth <- depth - 1

        if Char.IsWhiteSpace letter && depth = 0 then
            if piece.Length > 0 then
                found.Add(string piece)
                piece.Clear() |> ignore
        else
            piece.Append(if Char.IsWhiteSpace letter then ' ' else letter) |> ignore

    List.ofSeq found

/// Lines of pieces behind a head, beside which they go on if it leaves room for them.
let private wrapped (head: string) pieces =
    let indent = String(' ', (if head.Length <= width / 3 then head.Length else 6))

    let add (lines: string list) (piece: string) =
        match lines with
        | line :: above when line.Length + 1 + piece.Length <= width -> $"{line} {piece}" :: above
        | _ -> $"{indent} {piece}" :: lines

    List.fold add [ head ] pieces |> List.rev |> String.concat "\n"

/// The flag, or the main argument, that a piece of usage is about.
let private nameOf (piece: string) = piece.Trim('[', ']').Split(' ', 2)[0]

// In the place of an argument's lines, its own and those of its text that are indented further, others.
let private replaced (name: string) others (lines: string list) =
    let isOf (line: string) = line.StartsWith $"    {name} " || line.TrimEnd() = $"    {name}"
    let goesOn (line: string) = line.StartsWith "     "

    match List.tryFindIndex isOf lines with
    | None -> lines
    | Some at -> lines[.. at - 1] @ others @ (lines[at + 1 ..] |> List.skipWhile goesOn)

/// The heading of the main argument, which nothing stands under any more.
let private withoutHeading (name: string) (lines: string list) =
    let heading = name.Trim('<', '>').ToUpperInvariant() + ":"

    match List.tryFindIndex ((=) heading) lines with
    | None -> lines
    | Some at -> lines[.. at - 1] @ (lines[at + 1 ..] |> List.skipWhile String.IsNullOrWhiteSpace)

let private model = "<model>"

let private isMain (name: string) = name.StartsWith '<'

let private without (call: string) (unread: string list) (text: string) =
    let lines = text.Replace("\r", "").Split '\n' |> List.ofArray
    let usage = lines |> List.takeWhile (String.IsNullOrWhiteSpace >> not)

    let kept =
        String.concat " " usage
        |> pieces
        |> List.filter (fun piece -> piece.StartsWith '[' && not (List.contains (nameOf piece) unread))

    let rest =
        unread |> List.fold (fun rest name -> replaced name [] rest) (lines |> List.skip usage.Length)

    let rest = unread |> List.filter isMain |> List.fold (fun rest name -> withoutHeading name rest) rest
    wrapped $"USAGE: {call}" kept :: rest |> String.concat "\n"

let private modelOfScript =
    "    <model>               a run folder, or a checkpoint folder of this model"

/// A verb's help as a script has the verb.
/// <param name="call">How the script is called.</param>
/// <param name="fitsAnyVocabulary">Whether the script's model is one for any vocabulary, which `plan` is then told.</param>
/// <param name="path">The words that name the verb.</param>
let ofScript (call: string) fitsAnyVocabulary (path: string list) (text: string) : string =
    let told unread =
        without (String.concat " " (call :: path)) unread text
        |> fun text -> text.Split '\n' |> List.ofArray
        |> replaced model [ modelOfScript ]
        |> String.concat "\n"

    match path with
    | [ "train" ] -> told [ model; "--set" ]
    | [ "generate" ] -> told []
    | [ "plan" ] when fitsAnyVocabulary -> told [ "--set" ]
    | [ "plan" ] -> told [ model; "--set"; "--vocab" ]
    | _ -> text
