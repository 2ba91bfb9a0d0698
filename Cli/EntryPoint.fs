module Legato.Cli.EntryPoint

[<EntryPoint>]
let main words = Program.main words
