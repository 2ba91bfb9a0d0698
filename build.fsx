// Everything by name: dotnet fsi build.fsx [TARGET].
// Needs the .NET 10 SDK and nothing else; without a reference to Legato's own assemblies, since it builds them.

open System
open System.Diagnostics
open System.IO
open System.Text.RegularExpressions
open System.Xml.Linq

let root = __SOURCE_DIRECTORY__
let solution = "Legato.slnx"
let cli = Path.Combine(root, "Cli/bin/Release/net10.0/legato.dll")

/// What a bare `dotnet fsi build.fsx` does once everything is built: train the default model, then let it speak.
let mainJob = [ "train" ]

let testProjects = [ "Tests/CSharp/Legato.Tests.CSharp"; "Tests/Legato.Tests" ]

let fsharpSources = [ "Dsl"; "Compiler"; "Models"; "Cli"; "Tests"; "build.fsx" ]
let csharpProjects = [ "Runtime/Legato.Runtime.csproj"; "Tests/CSharp/Legato.Tests.CSharp.csproj" ]

/// A step that failed: what it was, and the exit code to end with.
exception StepFailed of step: string * exitCode: int

// Ctrl-C reaches the child too; it is the child that decides how to end, and this script waits for it.
Console.CancelKeyPress.Add(fun signal -> signal.Cancel <- true)

let startInfo (arguments: string list) =
    let info = ProcessStartInfo("dotnet", WorkingDirectory = root)
    arguments |> List.iter info.ArgumentList.Add
    info

let exitCodeOf arguments =
    use child = Process.Start(startInfo arguments)
    child.WaitForExit()
    child.ExitCode

let dotnet arguments =
    match exitCodeOf arguments with
    | 0 -> ()
    | code -> raise (StepFailed("dotnet " + String.concat " " arguments, code))

let outputOf arguments =
    let info = startInfo arguments
    info.RedirectStandardOutput <- true
    use child = Process.Start info
    let output = child.StandardOutput.ReadToEnd()
    child.WaitForExit()
    output

/// Package files name no host: they read their source from this variable.
let feedVariable = "NUGET_FEED"

let setFeed () =
    if String.IsNullOrEmpty(Environment.GetEnvironmentVariable feedVariable) then
        let firstEnabled =
            outputOf [ "nuget"; "list"; "source"; "--format"; "short" ]
            |> fun text -> text.Split('\n', StringSplitOptions.TrimEntries)
            |> Array.tryPick (fun line -> if line.StartsWith "E" then Some(line[1..].Trim()) else None)

        match firstEnabled with
        | Some feed -> Environment.SetEnvironmentVariable(feedVariable, feed)
        | None ->
            eprintfn "error: no package source is enabled"
            eprintfn "  where: dotnet nuget list source"
            eprintfn "  remedy: add one with `dotnet nuget add source URL`, or set the variable %s" feedVariable
            raise (StepFailed("finding a package source", 2))

let restore () =
    setFeed ()
    dotnet [ "tool"; "restore" ]
    dotnet [ "paket"; "restore" ]

/// Compiling the program ahead of time halves its start-up, but takes a package that not every registry holds.
let canPrecompile () =
    if exitCodeOf [ "restore"; solution; "-p:Precompile=true"; "-v"; "quiet" ] = 0 then
        true
    else
        printfn "note: the ahead-of-time compiler can't be had here; the program will start more slowly"
        false

/// Builds everything, and gives the properties that it was built with.
let buildWith () =
    restore ()
    printfn "building…"
    let properties = if canPrecompile () then [ "-p:Precompile=true" ] else []
    dotnet ([ "build"; solution; "-c"; "Release"; "-v"; "quiet"; "-nologo" ] @ properties)
    properties

let build () = buildWith () |> ignore

let runMainJob () =
    build ()
    dotnet (cli :: mainJob)

type Counts = {
    Passed: int
    Failed: int
    Skipped: int
} with

    static member (+)(a, b) = {
        Passed = a.Passed + b.Passed
        Failed = a.Failed + b.Failed
        Skipped = a.Skipped + b.Skipped
    }

    override counts.ToString() = $"{counts.Passed} passed, {counts.Failed} failed, {counts.Skipped} skipped"

let noTests = { Passed = 0; Failed = 0; Skipped = 0 }

/// The counts of a result file: one element a test, by its own outcome. (The file's summary leaves skipped tests out.)
let readResults (path: string) =
    let document = XDocument.Load path
    let ns = document.Root.GetDefaultNamespace()
    let attribute name (element: XElement) = element.Attribute(XName.Get name).Value

    let tell outcome (test: XElement) =
        let reason = test.Descendants(ns + "Message") |> Seq.map _.Value |> String.concat " "
        printfn "  %s %s: %s" outcome (attribute "testName" test) reason

    let count (test: XElement) =
        match attribute "outcome" test with
        | "Passed" -> { noTests with Passed = 1 }
        | "NotExecuted" ->
            tell "skipped" test
            { noTests with Skipped = 1 }
        | _ ->
            tell "failed" test
            { noTests with Failed = 1 }

    document.Root.Elements(ns + "Results")
    |> Seq.collect _.Elements(ns + "UnitTestResult")
    |> Seq.map count
    |> Seq.fold (+) noTests

let runTests filter (results: string) (project: string) =
    let name = Path.GetFileName project
    let file = Path.Combine(results, name + ".trx")

    let extension =
        if File.Exists(Path.Combine(root, project + ".csproj")) then
            ".csproj"
        else
            ".fsproj"

    let watch = Stopwatch.StartNew()

    let exitCode =
        exitCodeOf (
            [ "test"; project + extension; "-c"; "Release"; "--no-build"; "--nologo"; "-v"; "quiet" ]
            @ [ "--logger"; $"trx;LogFileName={file}"; "--results-directory"; results ]
            @ filter
        )

    let counts = if File.Exists file then readResults file else noTests

    // A test host that died has no failed test to show for it, and must not pass for a success.
    let counts =
        if exitCode <> 0 && counts.Failed = 0 then
            printfn "  %s ended with exit code %d and no failed test" name exitCode
            { counts with Failed = 1 }
        else
            counts

    printfn "%s: %O (%.1f s)" name counts watch.Elapsed.TotalSeconds
    counts

let testWith filter =
    build ()
    let results = Directory.CreateTempSubdirectory "legato-tests-"

    try
        let total = testProjects |> List.map (runTests filter results.FullName) |> List.reduce (+)
        printfn "%O" total

        if total.Failed > 0 then
            exit 1
    finally
        results.Delete true

/// LEGATO_TESTS=all takes the heavy tests with it.
let test () =
    match Environment.GetEnvironmentVariable "LEGATO_TESTS" with
    | "all" -> testWith []
    | _ -> testWith [ "--filter"; "TestCategory!=Heavy" ]

let testHeavy () = testWith []

let formatWith fantomasFlags formatFlags =
    restore ()
    dotnet ([ "fantomas" ] @ fantomasFlags @ fsharpSources)

    for project in csharpProjects do
        dotnet ([ "restore"; project; "-v"; "quiet" ])
        dotnet ([ "format"; project; "--no-restore" ] @ formatFlags)

let format () = formatWith [] []
let checkFormat () = formatWith [ "--check" ] [ "--verify-no-changes" ]

let bench () =
    build ()

    for suite in [ "machine"; "gemm"; "train"; "prefill"; "decode"; "tokenize" ] do
        dotnet [ cli; "bench"; suite ]

let pack () =
    let properties = buildWith ()
    let folder = "artifacts/legato"
    dotnet ([ "publish"; "Cli"; "-c"; "Release"; "--no-build"; "-o"; folder; "-nologo" ] @ properties)
    printfn "packed into %s" folder

/// Resolves paket.dependencies anew. paket writes its source's address into the lock; the variable goes back in its place.
let lock () =
    setFeed ()
    dotnet [ "tool"; "restore" ]
    dotnet [ "paket"; "install" ]
    let file = Path.Combine(root, "paket.lock")
    File.WriteAllText(file, Regex.Replace(File.ReadAllText file, "(?m)^(  remote: ).*$", $"$1%%{feedVariable}%%"))

let targets = [
    "run", "restore, build, train the default model and let it speak (also without a target)", runMainJob
    "restore", "fetch the tools and packages", restore
    "build", "restore and build everything (Release)", build
    "test", "build, then run the tests but the heavy ones", test
    "test-heavy", "build, then run all tests", testHeavy
    "format", "rewrite the sources in the project's format", format
    "check-format", "fail where a source is not in the project's format", checkFormat
    "bench", "build, then measure this machine and Legato on it", bench
    "pack", "publish the program into artifacts/", pack
    "lock", "resolve paket.dependencies anew into paket.lock", lock
]

let help () =
    printfn "usage: dotnet fsi build.fsx [TARGET]\n"

    for name, purpose, _ in targets do
        printfn "  %-14s%s" name purpose

    printfn "  %-14s%s" "help" "print this list"

let runTarget name =
    match targets |> List.tryFind (fun (target, _, _) -> target = name) with
    | Some(_, _, action) -> action ()
    | None ->
        eprintfn "error: no target is called '%s'" name
        help ()
        exit 2

try
    match List.tail (List.ofArray fsi.CommandLineArgs) with
    | [] -> runMainJob ()
    | [ "help" | "--help" | "-h" ] -> help ()
    | [ target ] -> runTarget target
    | surplus ->
        eprintfn "error: one target at a time, not '%s'" (String.concat " " surplus)
        exit 2
with StepFailed(step, code) ->
    eprintfn "error: this step failed with exit code %d: %s" code step
    exit code
