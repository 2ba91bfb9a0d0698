/// The command line: help that is held, flags and config files that become options, mistakes that say what to do.
module Legato.Tests.CommandLineTests

open System
open System.IO
open System.Text.Json
open Argu
open NUnit.Framework
open Legato.Cli
open Legato.Runtime
open Legato.Runtime.Cpu

let private topics () =
    Program.helpTopics ()
    |> List.map (fun words -> TestCaseData(words).SetArgDisplayNames(String.Join(' ', "legato" :: words)))

[<TestCaseSource(nameof topics)>]
let ``the help text is held`` (words: string list) =
    let name = String.Join('-', "legato" :: words)
    Golden.hold $"help/{name}.txt" (Program.help words)

[<TestCaseSource(nameof topics)>]
let ``--help prints the help text and succeeds`` (words: string list) =
    let outcome = Invocation.legato (words @ [ "--help" ])
    Assert.That(outcome.ExitCode, Is.Zero)
    Assert.That(outcome.Output.Trim(), Is.EqualTo((Program.help words).Trim()))

[<Test>]
let ``the flags of every verb are well formed`` () =
    ArgumentParser.Create<Program.LegatoArgument>(checkStructure = true) |> ignore

let private mistakes =
    [
        "an unknown verb", [ "trian" ], [ "'trian'"; "did you mean train" ]
        "an unknown flag", [ "train"; "--stpes"; "3" ], [ "'--stpes'"; "did you mean --steps" ]
        "an unknown flag after a list", [ "train"; "--data"; "a"; "--stpes" ], [ "'--stpes'" ]
        "a word for a number", [ "train"; "--steps"; "many" ], [ "--steps takes a whole number, and 'many' is none" ]
        "a power of ten for a whole number", [ "train"; "--steps"; "1e3" ], [ "'1e3' is none"; "write 1000" ]
        "a fraction for a whole number", [ "train"; "--steps"; "0,5" ], [ "takes a whole number, and '0,5' is none" ]
        "a word for a decimal", [ "train"; "--lr"; "fast" ], [ "--lr takes a number, and 'fast' is none" ]
        "a seed below zero", [ "generate"; "m"; "--seed"; "-1" ], [ "--seed must be at least 0, not -1" ]
        "another name of a precision", [ "train"; "--precision"; "float32" ], [ "'float32'"; "did you mean fp32?" ]
        "a precision that there isn't",
        [ "train"; "--precision"; "fp8" ],
        [ "--precision takes one of fp32, tf32, bf16, fp16, and 'fp8' is none"; "where: legato train" ]
        "a misspelt choice", [ "train"; "--schedule"; "cosin" ], [ "did you mean cosine?" ]
        "a folder to export to without a name",
        [ "export"; "m"; "--out"; "" ],
        [ "--out is given an empty text"; "legato export" ]
        "a place to convert to without a name",
        [ "convert"; "m"; "--out"; "" ],
        [ "--out is given an empty text"; "legato convert" ]
        "a file's name for a folder to convert to",
        [ "convert"; "m"; "--out"; "d/m.safetensors" ],
        [ "--out names a .safetensors file"; "ends in .gguf" ]
        "a file's name for a folder to export to",
        [ "export"; "m"; "--out"; "M.BIN" ],
        [ "--out names a .bin file"; "name a folder" ]
        "no place to convert to", [ "convert"; "m" ], [ "--out is not given" ]
        "nothing to set", [ "train"; "--set"; "" ], [ "--set is given an empty text"; "--set KEY=VALUE" ]
        "two spellings of a key",
        [ "plan"; "llama-tiny"; "--set"; "n_layer=2"; "--set"; "num_hidden_layers=3" ],
        [ "num_hidden_layers and n_layer are spellings of one key"; "set num_hidden_layers alone" ]
        "a number out of range", [ "train"; "--steps"; "0" ], [ "--steps must be at least 1, not 0"; "legato train" ]
        "two mistakes at once", [ "train"; "--lr"; "0"; "--beta1"; "1" ], [ "--lr"; "--beta1" ]
        "an infinite number",
        [ "train"; "--lr"; "1e400" ],
        [ "--lr must be a finite number greater than 0"; "in digits" ]
        "an epsilon that float32 takes for 0", [ "train"; "--eps"; "1e-300" ], [ "--eps is 1E-300"; "float32" ]
        "a decay that float32 takes for infinity",
        [ "train"; "--weight-decay"; "1e300" ],
        [ "--weight-decay is 1E+300"; "float32" ]
        "a beta that float32 takes for 1", [ "train"; "--beta2"; "0.9999999999" ], [ "--beta2 is 0.9999999999" ]
        "more warm-up and decay than can be counted",
        [
            "train"
            "--warmup"
            "2147483647"
            "--decay-steps"
            "1"
            "--schedule"
            "wsd"
            "--steps"
            "2147483647"
        ],
        [ "2147483647 and 1 steps" ]
        "two models", [ "generate"; "a"; "b" ], [ "MODEL is given more than once" ]
        "two models to plan", [ "plan"; "gpt2-tiny"; "llama-tiny" ], [ "MODEL is given more than once" ]
        "no share at all", [ "generate"; "m"; "--top-p"; "0" ], [ "--top-p must be a finite number greater than 0" ]
        "more than the whole", [ "generate"; "m"; "--top-p"; "2" ], [ "--top-p must lie between" ]
        "a stop text of nothing", [ "generate"; "m"; "--stop"; "" ], [ "--stop is given an empty text" ]
        "a tolerance for equality",
        [ "verify"; "m"; "--round-trip"; "--tolerance"; "5" ],
        [ "--tolerance means nothing with --round-trip" ]
        "a GGUF file from export", [ "export"; "m"; "--out"; "d.gguf" ], [ "names a GGUF file"; "legato convert" ]
        "no number at all", [ "train"; "--lr"; "nan" ], [ "--lr must be a finite number greater than 0, not NaN" ]
        "a word for infinity", [ "train"; "--lr"; "inf" ], [ "--lr must be a finite number, not inf"; "write digits" ]
        "a flag given twice", [ "train"; "--steps"; "1"; "--steps"; "2" ], [ "--steps is given more than once" ]
        "a comma for a point",
        [ "train"; "--lr"; "0,003" ],
        [ "--lr takes a number, and '0,003' is none"; "legato train"; "behind a point" ]
        "a comma for a point in another verb",
        [ "generate"; "m"; "--temperature"; "0,8" ],
        [ "--temperature takes a number"; "legato generate" ]
        "a key that is set twice",
        [ "train"; "--set"; "hidden_size=64"; "--set"; "hidden_size=32" ],
        [ "--set hidden_size is given more than once" ]
        "two vocabularies",
        [ "plan"; "demo"; "--vocab"; "20"; "--set"; "vocab_size=10" ],
        [ "--vocab and --set vocab_size contradict each other" ]
        "a run's folder without a name", [ "train"; "--out"; "" ], [ "--out is given an empty text" ]
        "a run to resume without a name",
        [ "train"; "--resume"; ""; "--data"; "" ],
        [ "--resume is given an empty text"; "--data is given" ]
        "plans' folder without a name", [ "plan"; "gpt2-tiny"; "--save"; "" ], [ "--save is given an empty text" ]
        "half an assignment", [ "train"; "--set"; "layers" ], [ "'layers' has no value"; "--set KEY=VALUE" ]
        "no model", [ "generate" ], [ "MODEL is not given"; "`legato generate --help`" ]
        "flags that contradict", [ "generate"; "m"; "--greedy"; "--temperature"; "1" ], [ "--greedy and --temperature" ]
        "two purposes", [ "plan"; "m"; "--train"; "--decode" ], [ "--train and --decode" ]
        "a cache for training",
        [ "plan"; "gpt2-tiny"; "--context"; "5" ],
        [ "--context means nothing with --train"; "--prefill, --decode" ]
        "a prompt longer than its cache",
        [ "plan"; "llama-tiny"; "--prefill"; "--context"; "10"; "--seq"; "20" ],
        [ "--seq must be at most what --context is, 10, not 20"; "where: legato plan" ]
        "a plan for the interpreter",
        [ "plan"; "llama-tiny"; "--device"; "interpreter" ],
        [
            "--device takes one of cpu, cuda, and 'interpreter' is none"
            "write one of them behind --device"
        ]
        "a benchmark of a model that reads a source",
        [ "bench"; "decode"; "t5-tiny" ],
        [ "t5-tiny reads a source"; "where: legato bench decode"; "choose a model" ]
        "a sequence for decoding",
        [ "plan"; "gpt2-tiny"; "--decode"; "--seq"; "5" ],
        [ "--seq means nothing with --decode" ]
        "no backward pass to compute again in",
        [ "plan"; "gpt2-tiny"; "--prefill"; "--remat"; "block" ],
        [ "--remat means nothing with --prefill"; "choose --train" ]
        "packed rows with a cache",
        [ "plan"; "gpt2-tiny"; "--decode"; "--pack" ],
        [ "--pack means nothing with --decode" ]
        "a graph beside JSON", [ "plan"; "gpt2-tiny"; "--json"; "--graph" ], [ "--json and --graph contradict" ]
        "more batches than a step can have",
        [ "train"; "--accumulate"; "2147483647" ],
        [ "--accumulate must lie between 1 and 65536" ]
        "no suite", [ "bench" ], [ "no suite"; "gemm" ]
        "an unknown suite", [ "bench"; "gem" ], [ "'gem'"; "did you mean gemm" ]
        "a flag of another suite",
        [ "bench"; "gemm"; "--experts"; "3" ],
        [ "--experts means nothing with gemm"; "choose moe" ]
        "a model for a suite without one", [ "bench"; "gemm"; "llama-100m" ], [ "a model means nothing with gemm" ]
        "a size beyond 64 bits",
        [ "bench"; "gemm"; "--size"; "2147483647" ],
        [ "beyond what 64 bits count"; "where: legato bench gemm"; "choose a smaller --size" ]
        "a product beyond all memory",
        [ "bench"; "gemm"; "--size"; "1000000" ],
        [ "of memory, and"; "are free"; "where: legato bench gemm"; "a smaller --size" ]
        "rows beyond all memory",
        [ "bench"; "norm"; "--tokens"; "10000000"; "--size"; "100000"; "--device"; "cpu" ],
        [ "of memory, and"; "where: legato bench norm"; "choose a smaller --tokens or --size" ]
        "experts beyond all memory",
        [ "bench"; "moe"; "--experts"; "100000"; "--device"; "cpu" ],
        [ "of memory, and"; "where: legato bench moe"; "--experts" ]
        "a model beyond all memory",
        [ "bench"; "train"; "gpt3-175b"; "--device"; "cpu" ],
        [ "of memory, and"; "where: legato bench train"; "choose a smaller model" ]
        "a benchmark's batch beyond all memory",
        [ "bench"; "prefill"; "llama-tiny"; "--tokens"; "128"; "--batch"; "9000000"; "--device"; "cpu" ],
        [ "of memory, and"; "where: legato bench prefill"; "remedy: --batch"; "would fit" ]
        "two sizes beyond 64 bits",
        [ "bench"; "norm"; "--tokens"; "2147483647"; "--size"; "2147483647"; "--device"; "cpu" ],
        [ "choose a smaller --tokens or --size" ]
        "experts beyond 64 bits", [ "bench"; "moe"; "--experts"; "2147483647" ], [ "--experts" ]
        "more experts a token than there are",
        [ "bench"; "moe"; "--top"; "9"; "--experts"; "8" ],
        [ "--top must be at most what --experts is, 8, not 9" ]
        "more samples than can be kept",
        [ "generate"; "m"; "--samples"; "2147483647" ],
        [ "--samples must lie between" ]
        "a template for plain text",
        [ "train"; "--data"; "own.txt"; "--chat-template"; "nofile" ],
        [ "--chat-template means nothing with plain text" ]
        "a vocabulary for characters",
        [ "train"; "--vocab"; "300"; "--tokenizer"; "char" ],
        [ "--vocab means nothing with this tokenizer"; "--tokenizer bpe" ]
        "a source for a decoder",
        [ "plan"; "gpt2-124m"; "--source"; "5" ],
        [ "--source means nothing with gpt2-124m"; "where: legato plan" ]
        "a batch of more rows than a product takes",
        [ "plan"; "gpt2-124m"; "--batch"; "16000000" ],
        [ "one matrix product would have 16384000000 rows" ]
        "the largest batch of all",
        [ "plan"; "gpt2-124m"; "--batch"; "2147483647"; "--train" ],
        [ "one matrix product would have"; "where: batch" ]
        "a number beyond 32 bits",
        [ "train"; "--steps"; "99999999999999" ],
        [ "--steps must be at most 2147483647, not 99999999999999" ]
        "a number beyond 64 bits",
        [ "generate"; "m"; "--seed"; "99999999999999999999" ],
        [ "--seed must be at most 18446744073709551615" ]
        "more threads than processors",
        [ "generate"; "m"; "--threads"; string (Environment.ProcessorCount + 1) ],
        [
            $"--threads must lie between 1 and {min CpuDeviceOptions.MostThreads Environment.ProcessorCount}, the processors"
        ]
        "the flag of another suite", [ "bench"; "prefill"; "llama-100m"; "--seq"; "512" ], [ "give --tokens instead" ]
        "the flag of other suites", [ "bench"; "train"; "--tokens"; "512" ], [ "give --seq instead" ]
        "the flag of another purpose", [ "plan"; "gpt2-tiny"; "--decode"; "--seq"; "64" ], [ "give --context instead" ]
        "more tokens than the context", [ "bench"; "prefill"; "llama-tiny"; "--tokens"; "512" ], [ "at most 128" ]
        "attention by the interpreter",
        [ "bench"; "attention"; "--device"; "interpreter" ],
        [ "--device interpreter means nothing with attention"; "cpu, cuda" ]
        "a file for a folder to save to",
        [ "plan"; "gpt2-tiny"; "--save"; Path.Combine(Repository.root, "README.md") ],
        [ "README.md is a file" ]
        "a file for a folder of records", [ "verify"; Path.Combine(Repository.root, "README.md") ], [ "this is a file" ]
        "no action", [ "tokenize" ], [ "subcommand" ]
        "no tokenizer", [ "tokenize"; "encode" ], [ "--tokenizer is not given" ]
        "a text for a file",
        [ "tokenize"; "encode"; "--tokenizer"; "t"; "hello world" ],
        [
            "no such file or folder as 'hello world'"
            "the standard input: echo TEXT | legato tokenize encode"
        ]
        "a config that isn't there", [ "train"; "--config"; "nowhere.json" ], [ "nowhere.json" ]
        "a folder without records",
        [ "verify"; Path.Combine(Repository.root, "Models") ],
        [ "expected.safetensors (logits"; "expected.json (a recorded training run)"; "--round-trip" ]
        if OperatingSystem.IsLinux() then
            for words in
                [
                    [ "train"; "--config"; "/dev/zero" ]
                    [ "train"; "--tokenizer"; "/dev/zero" ]
                    [ "train"; "--data"; "/dev/zero" ]
                    [ "tokenize"; "train"; "/dev/zero"; "--out"; "nowhere" ]
                    [ "tokenize"; "chat"; "--template"; "/dev/zero" ]
                ] do
                "no end: " + String.concat " " words, words, [ "doesn't say where it ends"; "where: /dev/zero" ]
    ]
    |> List.map (fun (name, words, parts) -> TestCaseData(words, parts).SetArgDisplayNames name)

[<TestCaseSource(nameof mistakes)>]
let ``a mistake ends with 2 and says what and where`` (words: string list) (parts: string list) =
    let outcome = Invocation.legato words
    Assert.That(outcome.ExitCode, Is.EqualTo 2)
    Assert.That(outcome.Output, Is.Empty)
    Assert.That(outcome.Errors, Does.StartWith("error: ").And.Contain("where: ").And.Contain("remedy: "))

    for part in parts do
        Assert.That(outcome.Errors, Does.Contain part)

/// What these words ask `legato train` for.
let trainOptions words = Train.options (ArgumentParser.Create<Train.TrainArgument>().Parse(Array.ofList words))

/// The options, or a failure that tells what was wrong.
let ok result =
    match result with
    | Ok options -> options
    | Error(mistakes: LegatoException list) -> failwith $"%A{mistakes |> List.map _.Message}"

/// What was wrong, if anything.
let errors result =
    match result with
    | Ok _ -> []
    | Error(mistakes: LegatoException list) -> mistakes |> List.map _.Message

[<Test>]
let ``no flags are the main job`` () = Assert.That(ok (trainOptions []), Is.EqualTo TrainOptions.defaults)

[<Test>]
let ``flags become options`` () =
    let options =
        "gpt2-124m --data a --data b --resume --lr 3e-4 --no-pin --set layers=4 --set embed=256 --schedule wsd --tokenizer bpe"
        |> _.Split(' ')
        |> List.ofArray
        |> trainOptions
        |> ok

    let expected = {
        TrainOptions.defaults with
            Model = "gpt2-124m"
            Data = [ "a"; "b" ]
            Start = TrainOptions.Start.Latest
            LearningRate = 3e-4
            Pin = false
            Overrides = [ "layers", "4"; "embed", "256" ]
            Schedule = Schedule.Wsd
            Tokenizer = TrainOptions.TokenizerSource.BytePairs
    }

    Assert.That(options, Is.EqualTo expected)

[<Test>]
let ``doctor tells programs what it tells people`` () =
    let outcome = Invocation.legato [ "doctor"; "--json" ]
    let machine = JsonDocument.Parse(outcome.Output).RootElement
    Assert.That(outcome.ExitCode, Is.Zero)
    Assert.That(machine.GetProperty("processor").GetProperty("cores").GetInt32(), Is.EqualTo Environment.ProcessorCount)
    Assert.That(machine.GetProperty("memory").GetProperty("total").GetInt64(), Is.Positive)
    Assert.That((Invocation.legato [ "doctor" ]).Output, Does.Contain "processor")

[<TestCase("x"); TestCase("true"); TestCase("-1"); TestCase("99999999999")>]
let ``a debug level that is none is told before anything else`` (level: string) =
    let program = Path.ChangeExtension(typeof<Program.LegatoArgument>.Assembly.Location, ".dll")

    let info =
        Diagnostics.ProcessStartInfo("dotnet", [ program; "--version" ], RedirectStandardError = true)

    info.Environment["LEGATO_DEBUG"] <- level
    use child = Diagnostics.Process.Start info
    let errors = child.StandardError.ReadToEnd()
    child.WaitForExit()
    Assert.That(child.ExitCode, Is.EqualTo 2, errors)
    Assert.That(errors, Does.Contain($"'{level}' is no debug level").And.Contain("LEGATO_DEBUG").And.Contain "0 to 4")

[<TestCase("plan llama-tiny >/dev/full", "the standard output")>]
[<TestCase("train --help >/dev/full", "the standard output")>]
[<TestCase("plan nothing 2>/dev/full", "")>]
[<TestCase("--version >/dev/full", "can't write: the disk is full")>]
[<TestCase("--version >&-", "can't write: it is closed")>]
[<TestCase("tokenize train --out nowhere <&-", "the standard input is closed")>]
let ``streams that can't be used end with 2`` (words: string) (part: string) =
    if not (OperatingSystem.IsLinux()) then
        Assert.Ignore "only Linux has a device that is always full"

    let program = Path.ChangeExtension(typeof<Program.LegatoArgument>.Assembly.Location, ".dll")

    let info =
        Diagnostics.ProcessStartInfo(
            "sh",
            [ "-c"; $"timeout 60 dotnet '{program}' {words}" ],
            RedirectStandardError = true
        )

    use child = Diagnostics.Process.Start info
    let errors = child.StandardError.ReadToEnd()
    child.WaitForExit()
    Assert.That(child.ExitCode, Is.EqualTo 2, errors)
    Assert.That(errors, Does.Contain(part).And.Not.Contain "   at ")

[<Test>]
let ``a config that can't be read is told in words`` () =
    let told path =
        let outcome = Invocation.legato [ "train"; "--config"; path ]
        Assert.That(outcome.ExitCode, Is.EqualTo 2)
        outcome.Errors

    let nowhere = Path.Combine(Path.GetTempPath(), "legato-nowhere.json")
    Assert.That(told nowhere, Does.Contain("can't be read: there is no such file").And.Contain $"where: {nowhere}")
    Assert.That(told (Path.GetTempPath()), Does.Contain "can't be read: it is a folder")

[<TestCase("train", true, "<model> --set")>]
[<TestCase("plan", true, "--set")>]
[<TestCase("plan", false, "<model> --set --vocab")>]
[<TestCase("generate", true, "")>]
let ``a script's help leaves out what the script refuses, and nothing else`` (verb: string) isAny (unread: string) =
    let whole = Program.help [ verb ]
    let told = HelpText.ofScript "dotnet fsi my.fsx" isAny [ verb ] whole
    let unread = unread.Split(' ', StringSplitOptions.RemoveEmptyEntries)

    let arguments (text: string) = [
        for found in Text.RegularExpressions.Regex.Matches(text, @"(?m)^    (--[\w-]+|<model>)") ->
            found.Groups[1].Value
    ]

    let usage (text: string) = [
        for found in Text.RegularExpressions.Regex.Matches(text.Split("\n\n")[0], @"\[(--[\w-]+|<model>)") ->
            found.Groups[1].Value
    ]

    Assert.That(arguments told, Is.EqualTo<string list>(arguments whole |> List.except unread))
    Assert.That(usage told, Is.EqualTo<string list>(usage whole |> List.except unread))
    Assert.That(told, Does.StartWith $"USAGE: dotnet fsi my.fsx {verb} [--help]")
    Assert.That(told.Contains "MODEL:", Is.EqualTo(not (Array.contains "<model>" unread)))
    Assert.That(told, Does.Not.Contain "a preset or a checkpoint folder")

    for line in told.Split '\n' do
        Assert.That(line.Length, Is.LessThanOrEqualTo HelpText.width)

[<TestCase(59.9, "0:00:59"); TestCase(3_661.0, "1:01:01"); TestCase(90_061.0, "25:01:01")>]
let ``the time that is left counts hours beyond a day`` (seconds: float) (text: string) =
    Assert.That(Progress.clock seconds, Is.EqualTo text)

[<Test>]
let ``mistakes of several threads are the user's as one thread's is`` () =
    let mistake what = LegatoException(what, "there", "mend it") :> exn
    let output = Console.Error
    use printed = new StringWriter()

    try
        Console.SetError printed
        let several = AggregateException(mistake "one", mistake "one", AggregateException(mistake "two"))
        Assert.That(ErrorReport.ofException several, Is.EqualTo 2)
    finally
        Console.SetError output

    Assert.That(printed.ToString().Split("error: ").Length, Is.EqualTo 3)

[<TestCase(2L, 1.0, 97L, "…"); TestCase(3L, 1.5, 90L, "0:00:45"); TestCase(1L, 0.5, 0L, "0:00:00")>]
let ``what is left is foretold once a few units tell the speed``
    (units: int64)
    (seconds: float)
    (rest: int64)
    (text: string)
    =
    Assert.That(Progress.left units seconds rest, Is.EqualTo text)
