/// `legato verify` on small checkpoints of random weights, with what a reference computed for them.
module Legato.Tests.VerifyTests

open System
open System.Diagnostics
open System.IO
open System.Text.Json
open System.Threading
open NUnit.Framework

let private checkpoint name = Path.Combine(Repository.root, "Tests", "Goldens", "checkpoints", name)

let private folderMeets folder device =
    let outcome = Invocation.legato [ "verify"; folder; "--device"; device ]
    Assert.That(outcome.ExitCode, Is.Zero, outcome.Output + outcome.Errors)
    Assert.That(outcome.Output, Does.Not.Contain "differs")

let private meets name device = folderMeets (checkpoint name) device

[<Test>]
let ``the reference is met`` ([<Values("gpt2", "llama", "llama3_rope", "train_gpt2", "train_llama")>] name: string) =
    meets name "cpu"

[<Test>]
let ``a kill amid a round trip leaves nothing behind`` () =
    TrainFixture.inFolder (fun folder ->
        let program = Path.ChangeExtension(typeof<Legato.Cli.Program.LegatoArgument>.Assembly.Location, ".dll")
        let words = [ program; "verify"; checkpoint "llama"; "--round-trip" ]

        let info =
            ProcessStartInfo("dotnet", words, RedirectStandardOutput = true, RedirectStandardError = true)

        info.Environment["TMPDIR"] <- folder
        use child = Process.Start info
        let errors, output = child.StandardError.ReadToEndAsync(), child.StandardOutput.ReadToEndAsync()
        let begun () = Directory.GetDirectories(folder, "legato-round-trip-*").Length > 0
        Assert.That(SpinWait.SpinUntil(begun, 60_000), "it never began")
        (Process.Start("kill", [ "-TERM"; string child.Id ])).WaitForExit()
        child.WaitForExit()
        Assert.That(child.ExitCode, Is.Not.Zero, output.Result)
        Assert.That(errors.Result, Is.Empty)
        Assert.That(Directory.GetFileSystemEntries folder, Is.Empty))

[<Test>]
let ``a round trip without a folder for temporary files is a user's mistake`` () =
    let before = Environment.GetEnvironmentVariable "TMPDIR"

    try
        Environment.SetEnvironmentVariable("TMPDIR", "/nowhere/at/all")
        let outcome = Invocation.legato [ "verify"; checkpoint "llama"; "--round-trip" ]
        Assert.That(outcome.ExitCode, Is.EqualTo 2)
        Assert.That(outcome.Errors, Does.Contain("where: /nowhere/at/all").And.Contain "set TMPDIR")
    finally
        Environment.SetEnvironmentVariable("TMPDIR", before)

[<Test>]
let ``narrow training keeps to float32's curve``
    ([<Values("train_gpt2", "train_llama")>] name: string)
    ([<Values("bf16", "fp16")>] precision: string)
    =
    let outcome = Invocation.legato [ "verify"; checkpoint name; "--precision"; precision ]
    Assert.That(outcome.ExitCode, Is.Zero, outcome.Output + outcome.Errors)

[<Test>]
let ``narrow weights keep to what their rounding explains``
    ([<Values("gpt2", "llama")>] name: string)
    ([<Values("bf16", "fp16")>] precision: string)
    =
    let outcome =
        Invocation.legato [ "verify"; checkpoint name; "--precision"; precision; "--device"; "cpu" ]

    Assert.That(outcome.ExitCode, Is.Zero, outcome.Output + outcome.Errors)
    Assert.That(outcome.Output, Does.Contain("relative root mean square").And.Contain "below the likeliest")

[<Test>]
let ``a mixture's routers make gradients jump, rounded as they are`` ([<Values("bf16", "fp16")>] precision: string) =
    let folder = Repository.shared "goldens/train_mixtral"
    let outcome = Invocation.legato [ "verify"; folder; "--precision"; precision; "--device"; "cpu" ]
    Assert.That(outcome.ExitCode, Is.Zero, outcome.Output + outcome.Errors)

[<Test>]
let ``the interpreter meets the reference`` ([<Values("gpt2", "llama", "llama3_rope")>] name: string) =
    meets name "interpreter"

[<Test>]
let ``each family meets its reference``
    ([<Values("mistral",
              "qwen2",
              "qwen3",
              "gemma2",
              "phi3",
              "gpt_neox",
              "opt",
              "bloom",
              "bert",
              "t5",
              "mixtral",
              "deepseek_v3",
              "gpt_oss",
              "train_mixtral")>] name: string)
    =
    folderMeets (Repository.shared $"goldens/{name}") "cpu"

[<Test; Category "Heavy">]
let ``the interpreter trains as the reference does`` ([<Values("train_gpt2", "train_llama")>] name: string) =
    meets name "interpreter"

/// A copy of a checkpoint, its files changed by `change`.
let private withCopy name (change: string -> unit) (work: string -> unit) =
    let folder = Directory.CreateTempSubdirectory "legato-verify-"

    try
        for file in Directory.GetFiles(checkpoint name) do
            File.Copy(file, Path.Combine(folder.FullName, Path.GetFileName file))

        change folder.FullName
        work folder.FullName
    finally
        folder.Delete true

let private changeLastFloats file (folder: string) =
    let path = Path.Combine(folder, file)
    let bytes = File.ReadAllBytes path

    for i in bytes.Length - 4096 .. bytes.Length - 1 do
        // One mantissa bit of a float32: other weights, not infinite ones.
        bytes[i] <- bytes[i] ^^^ (if i % 4 = 2 then 0x40uy else 0uy)

    File.WriteAllBytes(path, bytes)

[<TestCase("gpt2", "model.safetensors", "fp32")>]
[<TestCase("gpt2", "model.safetensors", "bf16")>]
[<TestCase("train_gpt2", "initial.safetensors", "fp32")>]
let ``other weights end with 1`` (name: string) (file: string) (precision: string) =
    withCopy name (changeLastFloats file) (fun folder ->
        let outcome = Invocation.legato [ "verify"; folder; "--precision"; precision ]
        Assert.That(outcome.ExitCode, Is.EqualTo 1, outcome.Errors)
        Assert.That(outcome.Output, Does.Contain "differs"))

[<Test>]
let ``a tolerance below the difference ends with 1, as JSON too`` () =
    let outcome = Invocation.legato [ "verify"; checkpoint "llama"; "--tolerance"; "0"; "--json" ]
    use document = JsonDocument.Parse outcome.Output
    Assert.That(outcome.ExitCode, Is.EqualTo 1)
    Assert.That(document.RootElement.GetProperty("passed").GetBoolean(), Is.False)

let private without file (folder: string) = File.Delete(Path.Combine(folder, file))
let private write file (text: string) (folder: string) = File.WriteAllText(Path.Combine(folder, file), text)

let private mistakes = [
    TestCaseData("gpt2", without "expected.safetensors", "records nothing").SetArgDisplayNames "no record"
    TestCaseData("gpt2", without "model.safetensors", "no weights").SetArgDisplayNames "no weights"
    TestCaseData("gpt2", write "config.json" """{"model_type": "rwkv"}""", "'rwkv'").SetArgDisplayNames "another family"
    TestCaseData("train_gpt2", write "expected.json" "{}", "can't be read").SetArgDisplayNames "an empty record"
    TestCaseData("gpt2", write "expected.safetensors" "torn", "expected.safetensors").SetArgDisplayNames "a torn record"
]

[<TestCaseSource(nameof mistakes)>]
let ``a mistake ends with 2 and its remedy`` (name: string) (change: string -> unit) (part: string) =
    withCopy name change (fun folder ->
        let outcome = Invocation.legato [ "verify"; folder ]
        Assert.That(outcome.ExitCode, Is.EqualTo 2)
        Assert.That(outcome.Errors, Does.Contain(part).And.Contain "remedy: "))
