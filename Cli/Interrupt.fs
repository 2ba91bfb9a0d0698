/// Ctrl-C and a polite kill: the first asks the work to stop where nothing is lost, the second ends the program.
module Legato.Cli.Interrupt

open System.Runtime.InteropServices
open System.Threading

/// 128 + SIGINT, as shells count it.
let exitCode = 130

let private source = new CancellationTokenSource()

let private ask (signal: PosixSignalContext) =
    if not source.IsCancellationRequested then
        signal.Cancel <- true
        source.Cancel()

// Registered by whoever can stop cleanly; everyone else ends at once, as programs do. The registrations live in this
// value: collected, they would stop listening.
let private listening =
    lazy
        ([ PosixSignal.SIGINT; PosixSignal.SIGTERM ]
         |> List.map (fun signal -> PosixSignalRegistration.Create(signal, ask)))

/// Cancelled by the first Ctrl-C; asking for it takes Ctrl-C over.
let token () =
    listening.Force() |> ignore
    source.Token
