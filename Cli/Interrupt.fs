/// Ctrl-C, a polite kill and a terminal that closes: the first asks the work to stop where nothing is lost, the second ends
/// the program.
module Legato.Cli.Interrupt

open System
open System.IO
open System.Runtime.InteropServices
open System.Threading

/// 128 + SIGINT, as shells count it.
let exitCode = 130

let private source = new CancellationTokenSource()

let private ask (signal: PosixSignalContext) =
    if not source.IsCancellationRequested then
        signal.Cancel <- true
        source.Cancel()

/// A terminal that may close while work goes on: what it doesn't show then is no reason to lose the work.
type private Terminal(inner: TextWriter) =
    inherit TextWriter(inner.FormatProvider)

    let unlessClosed write =
        try
            write ()
        with :? IOException ->
            ()

    override _.Encoding = inner.Encoding
    override _.Write(letter: char) = unlessClosed (fun () -> inner.Write letter)
    override _.Write(text: string) = unlessClosed (fun () -> inner.Write text)
    override _.Write(letters: char[], start, count) = unlessClosed (fun () -> inner.Write(letters, start, count))
    override _.Flush() = unlessClosed inner.Flush

let private outliveTerminals () =
    if not Console.IsOutputRedirected then
        Console.SetOut(new Terminal(Console.Out))

    if not Console.IsErrorRedirected then
        Console.SetError(new Terminal(Console.Error))

// Registered by whoever can stop cleanly; everyone else ends at once, as programs do. The registrations live in this
// value: collected, they would stop listening.
let private listening =
    lazy
        (outliveTerminals ()

         [ PosixSignal.SIGINT; PosixSignal.SIGTERM; PosixSignal.SIGHUP ]
         |> List.map (fun signal -> PosixSignalRegistration.Create(signal, ask)))

/// Cancelled by the first Ctrl-C; asking for it takes Ctrl-C over.
let token () =
    listening.Force() |> ignore
    source.Token
