/// Texts that are held: compared with a file under Goldens/, rewritten when LEGATO_BLESS=1.
module Legato.Tests.Golden

open System
open System.IO
open NUnit.Framework

let private isBlessing = Environment.GetEnvironmentVariable "LEGATO_BLESS" = "1"

let private normal (text: string) = text.ReplaceLineEndings("\n").TrimEnd() + "\n"

/// Holds `actual` against Goldens/`name`. A missing file fails: bless it after reading it.
let hold (name: string) (actual: string) =
    let path = Path.Combine(Repository.root, "Tests", "Goldens", name)

    if isBlessing then
        Directory.CreateDirectory(Path.GetDirectoryName path) |> ignore
        File.WriteAllText(path, normal actual)

    let held = if File.Exists path then File.ReadAllText path else ""
    Assert.That(normal actual, Is.EqualTo(normal held), $"{name} differs; LEGATO_BLESS=1 rewrites it")
