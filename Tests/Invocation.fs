/// The program as a user runs it, in this process: its words in, its exit code and what it printed out.
module Legato.Tests.Invocation

open System
open System.IO

type Outcome = { ExitCode: int; Output: string; Errors: string }

/// The console is one for the whole process; one invocation at a time.
let private gate = obj ()

let legato (words: string list) =
    lock gate (fun () ->
        let output, errors = Console.Out, Console.Error
        use printed = new StringWriter()
        use complained = new StringWriter()

        try
            Console.SetOut printed
            Console.SetError complained
            let code = Legato.Cli.Program.main (Array.ofList words)

            { ExitCode = code; Output = printed.ToString(); Errors = complained.ToString() }
        finally
            Console.SetOut output
            Console.SetError errors)
