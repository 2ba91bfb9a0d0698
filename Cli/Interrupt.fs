/// Ctrl-C, a polite kill and a terminal that closes: work that can stop where nothing is lost is asked to by the first, and
/// ended by the second. Other work ends at once, and what it has begun on disk goes.
module Legato.Cli.Interrupt

open System
open System.Diagnostics
open System.Globalization
open System.IO
open System.Runtime.InteropServices
open System.Threading
open Legato.Runtime.Checkpoints

let private source = new CancellationTokenSource()

// Whether somebody hears the request to stop.
let mutable private isHeard = false

let private numbers = [ PosixSignal.SIGINT, 2; PosixSignal.SIGTERM, 15; PosixSignal.SIGHUP, 1 ]

// The first signal that asked, by its number.
let mutable private asked = 2

/// 128 and the signal that asked for the end, as shells count it.
let exitCode () = 128 + asked

/// The signals that the program was started to ignore, as under nohup. The runtime tells of them nonetheless.
let private ignored =
    lazy
        (let status = "/proc/self/status"
         let key = "SigIgn:"

         if OperatingSystem.IsLinux() && File.Exists status then
             let line = File.ReadLines status |> Seq.find _.StartsWith(key)
             let mask = UInt64.Parse(line.AsSpan(key.Length).Trim(), NumberStyles.HexNumber)
             numbers |> List.filter (fun (_, number) -> mask >>> (number - 1) &&& 1UL = 1UL) |> List.map fst
         else
             [])

// One wish may come twice: to a group of processes, and passed on by the parent that got it too, as F# Interactive does.
let private oneWish = TimeSpan.FromSeconds 0.5
let private sinceAsked = Stopwatch()

/// The runtime's pipes for debuggers, which it leaves behind where another signal than Ctrl-C's ends it.
let private removePipes () =
    for kind in [ "clr-debug-pipe"; "dotnet-diagnostic" ] do
        AtomicWrite.TryRemove(fun () ->
            for pipe in Directory.GetFiles(Path.GetTempPath(), $"{kind}-{Environment.ProcessId}-*") do
                File.Delete pipe)

let private ask (signal: PosixSignalContext) =
    if isHeard && sinceAsked.Elapsed < oneWish then
        signal.Cancel <- true
        sinceAsked.Start()

        if not source.IsCancellationRequested then
            asked <- numbers |> List.find (fun (each, _) -> each = signal.Signal) |> snd

        source.Cancel()
    elif not (List.contains signal.Signal ignored.Value) then
        Unfinished.TakeBack()
        removePipes ()

// The registrations live in this value: collected, they would stop listening.
let private listening =
    lazy
        (ignored.Force() |> ignore
         numbers |> List.map (fun (signal, _) -> PosixSignalRegistration.Create(signal, ask)))

/// From here on nothing half-made outlives the program.
let listen () = listening.Force() |> ignore

/// Cancelled by the first Ctrl-C, which from here on asks for no more than that.
let token () =
    listen ()
    Output.outliveTerminal ()
    isHeard <- true
    source.Token
