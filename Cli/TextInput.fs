/// Text from files, folders or the standard input: strict UTF-8, nothing replaced. A byte order mark before it is no text, as
/// in training data, and is left out; further on U+FEFF is a character like any other.
module Legato.Cli.TextInput

open System
open System.IO
open System.Runtime.InteropServices
open System.Text
open Legato.Runtime
open Legato.Runtime.Data
open Legato.Runtime.Text

/// A text that can be opened, and the name that errors and tables call it by.
[<NoEquality; NoComparison>]
type Source = { Name: string; Open: unit -> Stream }

/// The path that stands for the standard input.
let dash = "-"

[<DllImport("libc")>]
extern int private fcntl(int descriptor, int command)

/// fcntl's command that reads a descriptor's flags, of which there is one: it closes where a program begins.
let private readFlags = 1

// The program was begun without one: there is none, or the runtime has taken its number for a pipe of its own, which never ends.
let private isStandardInputClosed () = not (OperatingSystem.IsWindows()) && fcntl (0, readFlags) <> 0

let private openStandardInput () =
    if isStandardInputClosed () then
        raise (LegatoException("the standard input is closed", "the standard input", "give a file or text"))

    Console.OpenStandardInput()

let private standardInput = { Name = "standard input"; Open = openStandardInput }

let private sayLeftOut path extension (files: TextFiles) =
    if files.LeftOut > 0 then
        let which = Counted.Of(files.LeftOut, "file") + (if files.LeftOut = 1 then " isn't" else " aren't")
        eprintfn "note: in %s %s %s and left out" path which extension

let private found extension path =
    if path = dash then
        [ standardInput ]
    else
        let files = TextFiles.Find([ path ], extension)
        sayLeftOut path extension files
        [ for path in files.Paths -> { Name = path; Open = fun () -> EndlessFile.Open path } ]

/// The files of the paths, those in folders that end in the extension included; the standard input for "-", and when there
/// are no paths.
let sourcesOf extension (paths: string list) =
    if paths |> List.filter ((=) dash) |> List.length > 1 then
        raise (LegatoException("the standard input is given twice", dash, "give - once"))

    match paths with
    | [] -> [ standardInput ]
    | _ -> paths |> List.collect (found extension)

/// A file alone, or the standard input for "-".
let single path =
    if path <> dash && not (File.Exists path) then
        let what =
            if Directory.Exists path then
                "this is a folder, and a file is meant"
            else
                "there is no such file"

        raise (LegatoException(what, path, "check the path"))

    sourcesOf "" [ path ] |> List.exactlyOne

/// Texts: in folders, .txt files.
let sources paths = sourcesOf ".txt" paths

/// JSON lines: in folders, .jsonl files.
let lines paths = sourcesOf ".jsonl" paths

/// Its byte order mark is skipped, and anything that isn't UTF-8 throws.
let private strict = UTF8Encoding(encoderShouldEmitUTF8Identifier = true, throwOnInvalidBytes = true)

let private opened source =
    try
        source.Open()
    with
    | :? IOException
    | :? UnauthorizedAccessException as error ->
        raise (LegatoException("the file can't be read", source.Name, "give a file that you may read", error))

let private reader source = new StreamReader(opened source, strict, detectEncodingFromByteOrderMarks = false)

let private guarded source (read: unit -> 'T) =
    try
        read ()
    with :? DecoderFallbackException as error ->
        raise (LegatoException("this is no UTF-8 text", source.Name, "convert it to UTF-8", error))

/// Opens the text for a while.
let reading source (work: TextReader -> 'T) =
    use reader = reader source
    guarded source (fun () -> work reader)

/// Opens the text for a while to read its lines; one that is no UTF-8 is a mistake of its own.
let readingLines source (work: TextReader -> 'T) =
    use lines = new Utf8Lines(opened source)
    work lines

/// What goes wrong with a text is told with its name.
let within source (work: unit -> 'T) =
    try
        work ()
    with :? LegatoException as error ->
        let place = if isNull error.Where then source.Name else $"{source.Name}, {error.Where}"
        raise (LegatoException(error.What, place, error.Remedy, error))

let private pieceLength = 1 <<< 20

/// Everything at once, if it ends within so many characters.
let wholeWithin (most: int) source =
    let text = StringBuilder()
    let piece = Array.zeroCreate pieceLength

    let rec add (reader: TextReader) =
        match reader.ReadBlock(piece, 0, pieceLength) with
        | 0 -> string text
        | length when text.Length + length > most ->
            raise (LegatoException($"the text is longer than {most} characters", source.Name, "give a shorter one"))
        | length ->
            text.Append(piece, 0, length) |> ignore
            add reader

    reading source add

/// Characters of the longest text there is.
let private longest = 0x3FFFFFDF

/// Everything at once.
let whole source = wholeWithin longest source

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
