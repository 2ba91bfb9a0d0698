/// Where the program prints: streams that may fail meanwhile, on a full device or with a terminal that closes.
module Legato.Cli.Output

open System
open System.IO
open Legato.Runtime

/// Hands on what can be written, and an error to what is to be done about it.
type private Guarded(inner: TextWriter, failed: exn -> unit) =
    inherit TextWriter(inner.FormatProvider)

    let guarded write =
        try
            write ()
        with
        // .NET says of a stream that is closed that access is denied.
        | :? IOException
        | :? UnauthorizedAccessException as error -> failed error

    override _.Encoding = inner.Encoding
    override _.Write(letter: char) = guarded (fun () -> inner.Write letter)
    override _.Write(text: string) = guarded (fun () -> inner.Write text)
    override _.Write(letters: char[], start, count) = guarded (fun () -> inner.Write(letters, start, count))
    override _.WriteLine(text: string) = guarded (fun () -> inner.WriteLine text)
    override _.Flush() = guarded inner.Flush

let mutable private outlivesTerminal = false

let private unwritable (error: exn) =
    if Console.IsOutputRedirected || not outlivesTerminal then
        let what, remedy =
            match error with
            | :? UnauthorizedAccessException -> "it is closed", "leave it open, or send it into a file"
            | _ -> FileHindrance.Of error, "send it where there is room for it"

        raise (LegatoException($"can't write: {what}", "the standard output", remedy, error))

/// From here on output that can't be written is the user's mistake like any other, told on the stream of errors; there nothing can
/// be told of one that can't.
let guard () =
    Console.SetOut(new Guarded(Console.Out, unwritable))
    Console.SetError(new Guarded(Console.Error, ignore))

/// What a terminal that has closed doesn't show is from here on no reason to lose the work.
let outliveTerminal () = outlivesTerminal <- true
