/// Text from files, folders or the standard input: strict UTF-8, nothing replaced.
module Legato.Cli.TextInput

open System
open System.IO
open System.Text
open Legato.Runtime
open Legato.Runtime.Data

/// A text that can be opened, and the name that errors and tables call it by.
[<NoEquality; NoComparison>]
type Source = { Name: string; Open: unit -> Stream }

let private standardInput = { Name = "standard input"; Open = Console.OpenStandardInput }

/// The files of the paths, those in folders included; the standard input when there are no paths.
let sources (paths: string list) =
    match paths with
    | [] -> [ standardInput ]
    | _ ->
        TextFiles.Find(paths).Paths
        |> Seq.map (fun path -> { Name = path; Open = fun () -> File.OpenRead path })
        |> List.ofSeq

/// Its byte order mark is skipped, and anything that isn't UTF-8 throws.
let private strict = UTF8Encoding(encoderShouldEmitUTF8Identifier = true, throwOnInvalidBytes = true)

let private reader source =
    try
        new StreamReader(source.Open(), strict, detectEncodingFromByteOrderMarks = false)
    with
    | :? IOException
    | :? UnauthorizedAccessException as error ->
        raise (LegatoException($"the text can't be read: {error.Message}", source.Name, "give a file that can be read"))

let private guarded source (read: unit -> 'T) =
    try
        read ()
    with :? DecoderFallbackException as error ->
        raise (LegatoException("this is no UTF-8 text", source.Name, "convert it to UTF-8", error))

/// Opens the text for a while.
let reading source (work: TextReader -> 'T) =
    use reader = reader source
    guarded source (fun () -> work reader)

/// Everything at once.
let whole source = reading source _.ReadToEnd()

let private pieceLength = 1 <<< 20

/// A piece and then the rest of its last line, so that no word is cut; unless that is longer than a piece itself.
let private nextPiece (reader: StreamReader) =
    let buffer = Array.zeroCreate pieceLength
    let length = reader.ReadBlock(buffer, 0, pieceLength)
    let piece = StringBuilder().Append(buffer, 0, length)
    let mutable last = if length < pieceLength then -1 else int buffer[length - 1]

    let goesOn () =
        last >= 0 && last <> int '\n' && (piece.Length < 2 * pieceLength || Char.IsHighSurrogate(char last))

    while goesOn () do
        last <- reader.Read()

        if last >= 0 then
            piece.Append(char last) |> ignore

    piece.ToString()

/// The text in pieces of one or two million characters that end at line ends where there are any: for texts larger than
/// memory.
let pieces source =
    seq {
        use reader = reader source
        let next () = guarded source (fun () -> nextPiece reader)
        let mutable piece = next ()

        while piece <> "" do
            yield piece
            piece <- next ()
    }
