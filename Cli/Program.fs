module Legato.Cli.Program

open Legato.Runtime

let private usage = "usage: legato VERB"

[<EntryPoint>]
let main argv =
    let given = String.concat " " argv
    let error = LegatoException($"no verb is called '{given}'", remedy = usage)
    eprintfn "error: %s" error.Message
    2
