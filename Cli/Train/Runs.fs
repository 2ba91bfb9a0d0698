/// The folder `runs/`, where runs go that are given no folder of their own.
module Legato.Cli.Runs

open System
open System.IO

let private home = "runs"

/// A run's settings as a config file, so that the run can go on without its flags being given again.
let settingsFile folder = Path.Combine(folder, "settings.json")

/// The tokens of a run's data, where it reads files.
let tokensFile folder = Path.Combine(folder, "tokens.bin")

/// A path as settings hold it, since a run may be resumed from another folder; other words stay what they are.
let lasting (path: string) =
    if Path.Exists path then
        Path.TrimEndingDirectorySeparator(Path.GetFullPath path)
    else
        path

let isRun folder = Directory.Exists(Path.Combine(folder, "checkpoints"))

/// The runs whose folders lie in this one, that which was worked on last before the others.
let newestFirst folder : string list =
    if not (Directory.Exists folder) then
        []
    else
        Directory.GetDirectories folder
        |> Array.filter isRun
        |> Array.sortByDescending (fun folder -> Directory.GetLastWriteTimeUtc folder, folder)
        |> List.ofArray

/// The run that was worked on last.
let newest () = List.tryHead (newestFirst home)

/// Folders for a new run of that name, of which it takes the first that is free.
let fresh (name: string) =
    let stem = Path.Combine(home, $"""{DateTime.Now.ToString "yyyyMMdd-HHmmss"}-{name}""")
    Seq.initInfinite (fun n -> if n = 0 then stem else $"{stem}-{n + 1}")
