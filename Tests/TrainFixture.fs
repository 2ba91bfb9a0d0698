/// Runs of `legato train` on a short text, for the length of a test.
module Legato.Tests.TrainFixture

open System
open System.IO
open NUnit.Framework

/// A folder for the length of a test.
let inFolder (work: string -> unit) =
    let folder = Directory.CreateTempSubdirectory "legato-train-"

    try
        work folder.FullName
    finally
        folder.Delete true

let text = String.replicate 60 "the cat sat on the mat.\nthe dog sat by the cat.\n"

let write folder name (content: string) =
    let path = Path.Combine(folder, name)
    File.WriteAllText(path, content)
    path

let small = [ "--batch"; "2"; "--seq"; "16"; "--eval-every"; "0"; "--seed"; "3"; "--warmup"; "1"; "--quiet" ]

/// A command as one that heeds signals which the tests themselves were started to ignore, as under nohup.
let heeding (command: string list) =
    if OperatingSystem.IsLinux() then
        "env" :: "--default-signal" :: command
    else
        command

/// Trains `llama-tiny` on a short text into the folder, with flags beside the usual ones.
let train folder name flags =
    let data = write folder "text.txt" text
    let out = Path.Combine(folder, name)
    Invocation.legato ([ "train"; "llama-tiny"; "--data"; data; "--out"; out ] @ small @ flags)

let succeed (outcome: Invocation.Outcome) =
    Assert.That(outcome.ExitCode, Is.Zero, outcome.Errors)
    outcome.Output

let weights folder run step =
    File.ReadAllBytes(Path.Combine(folder, run, "checkpoints", $"step-{step:D6}", "model.safetensors"))
