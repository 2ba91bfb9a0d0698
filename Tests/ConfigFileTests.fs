/// Settings from a file: its keys become the flags' options, and what is wrong with it is told with its place.
module Legato.Tests.ConfigFileTests

open System.IO
open NUnit.Framework
open Legato.Cli
open Legato.Tests.CommandLineTests

/// A config file of this text, and the options of a command line that starts with it.
let private withConfig (text: string) words =
    let path = Path.GetTempFileName()

    try
        File.WriteAllText(path, text)
        trainOptions ([ "--config"; path ] @ words)
    finally
        File.Delete path

let private config =
    """{ "model": "llama-1b", "steps": 10, "lr": 1e-2, "data": ["a", "b"],
  "set": { "layers": 4, "tied": true }, "no-pin": true, "quiet": false, "schedule": "linear" }"""

let private configured = {
    TrainOptions.defaults with
        Model = "llama-1b"
        Steps = 10
        LearningRate = 1e-2
        Data = [ "a"; "b" ]
        Overrides = [ "layers", "4"; "tied", "true" ]
        Pin = false
        Schedule = Schedule.Linear
}

[<Test>]
let ``a config's keys are the flags' names`` () = Assert.That(ok (withConfig config []), Is.EqualTo configured)

[<Test>]
let ``a byte order mark is no part of a config`` () =
    Assert.That(ok (withConfig ("\uFEFF" + config) []), Is.EqualTo configured)

[<Test>]
let ``a mistake on the command line isn't told with the config's place`` () =
    let message = String.concat "\n" (errors (withConfig "{ \"steps\": 10 }" [ "--warmup"; "20" ]))
    Assert.That(message, Does.Contain("--warmup must be at most what --steps is").And.Contain "where: legato train")

[<Test>]
let ``flags go on top of the config, lists as a whole`` () =
    let options = ok (withConfig config [ "--steps"; "20"; "--data"; "c" ])

    Assert.That(options, Is.EqualTo { configured with Steps = 20; Data = [ "c" ] })

let private badConfigs =
    [
        "an unknown key", "{\n \"stpes\": 3 }", [ "unknown config key 'stpes'"; "line 2"; "did you mean steps" ]
        "a key twice", "{ \"steps\": 3, \"steps\": 4 }", [ "'steps' more than once" ]
        "a value of the wrong type",
        "{ \"steps\": \"many\" }",
        [ "a whole number of up to 2147483647, and \"many\" is none"; "key 'steps'" ]
        "a number in quotes", "{ \"steps\": \"3\" }", [ "and \"3\" is none"; "key 'steps'"; "without quotes" ]
        "a comma in quotes", "{ \"lr\": \"0,003\" }", [ "a number, and \"0,003\" is none"; "key 'lr'" ]
        "numbers for one", "{ \"steps\": [3] }", [ "and [3] is none" ]
        "a number for a switch", "{ \"no-pin\": 1 }", [ "true or false, and 1 is none"; "key 'no-pin'" ]
        "nothing for a number", "{ \"steps\": null }", [ "and null is none" ]
        "a number beyond 32 bits", "{ \"steps\": 99999999999 }", [ "up to 2147483647, and 99999999999 is none" ]
        "texts for one", "{ \"tokenizer\": [\"a\", \"b\"] }", [ "one text, and"; "key 'tokenizer'" ]
        "a number for a text", "{ \"data\": 3 }", [ "an array of texts, and 3 is none"; "in quotes" ]
        "a flag for a text", "{ \"sample-prompt\": \"--json\" }", [ "a text that is no flag" ]
        "a misspelt choice",
        "{ \"schedule\": \"cosin\" }",
        [ "one of cosine, linear, wsd, constant"; "did you mean \"cosine\"?" ]
        "a list in an override", "{ \"set\": { \"a\": [1] } }", [ "an object"; "key 'set'" ]
        "a value out of range", "{\n \"steps\": 0 }", [ "--steps must be at least 1"; "line 2, key 'steps'" ]
        "a config in a config", "{ \"config\": \"x\" }", [ "unknown config key 'config'" ]
        "broken JSON", "{\n \"steps\": \n", [ "isn't valid JSON"; "line " ]
        "a list", "[1]", [ "one JSON object" ]
    ]
    |> List.map (fun (name, text, parts) -> TestCaseData(text, parts).SetArgDisplayNames name)

[<TestCaseSource(nameof badConfigs)>]
let ``a mistake in a config says which key, where and what to do`` (text: string) (parts: string list) =
    let message = String.concat "\n" (errors (withConfig text []))
    Assert.That(message, Does.Contain "where: ")

    for part in parts do
        Assert.That(message, Does.Contain part)

[<Test>]
let ``a config names one model`` () =
    TrainFixture.inFolder (fun folder ->
        let config = TrainFixture.write folder "c.json" """{ "model": ["gpt2-tiny", "llama-tiny"] }"""
        let outcome = Invocation.legato [ "train"; "--config"; config ]
        Assert.That(outcome.ExitCode, Is.EqualTo 2)
        Assert.That(outcome.Errors, Does.Contain "key 'model'"))
