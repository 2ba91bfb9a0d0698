/// The house's own rules: which assembly may know which, what lies at the top level, what no tracked file may hold.
module Legato.Tests.ArchitectureTests

open System
open System.Diagnostics
open System.IO
open System.Reflection.Metadata
open System.Reflection.PortableExecutable
open NUnit.Framework

let private trackedFiles =
    lazy
        (let info =
            ProcessStartInfo("git", [ "ls-files" ], WorkingDirectory = Repository.root, RedirectStandardOutput = true)

         use git = Process.Start info
         let listing = git.StandardOutput.ReadToEnd()
         git.WaitForExit()
         listing.Split('\n', StringSplitOptions.RemoveEmptyEntries))

/// Tracked paths, relative to the root; outside a git clone nothing is tracked and the test is skipped.
let private tracked () =
    if not (Path.Exists(Path.Combine(Repository.root, ".git"))) then
        Assert.Ignore "not a git clone"

    trackedFiles.Value

/// The Legato assemblies that an assembly was compiled against, read from its metadata without loading it.
let private legatoReferences assembly =
    use stream = File.OpenRead(Path.Combine(AppContext.BaseDirectory, assembly + ".dll"))
    use image = new PEReader(stream)
    let metadata = image.GetMetadataReader()

    [
        for handle in metadata.AssemblyReferences do
            metadata.GetString(metadata.GetAssemblyReference(handle).Name)
    ]
    |> List.filter _.StartsWith("Legato.")

[<TestCase("Legato.Runtime", "")>]
[<TestCase("Legato.Dsl", "")>]
[<TestCase("Legato.Models", "Legato.Dsl")>]
[<TestCase("Legato.Compiler", "Legato.Dsl Legato.Runtime")>]
let ``an assembly knows only what the architecture allows`` (assembly: string) (allowed: string) =
    let surplus = legatoReferences assembly |> List.except (allowed.Split ' ')
    Assert.That(surplus, Is.Empty, $"{assembly} may use only [{allowed}]")

let private topLevel =
    [
        ".ci"
        ".config"
        ".editorconfig"
        ".gitignore"
        "ARCHITECTURE.md"
        "CHANGELOG.md"
        "Cli"
        "Compiler"
    ]
    @ [
        "Directory.Build.props"
        "Dsl"
        "LICENSE"
        "Legato.slnx"
        "Models"
        "README.md"
        "Runtime"
        "Tests"
    ]
    @ [ "build.fsx"; "global.json"; "paket.dependencies"; "paket.lock" ]

[<Test>]
let ``the top level holds what the architecture names and nothing else`` () =
    let found = tracked () |> Array.map _.Split('/').[0] |> Array.distinct
    Assert.That(found, Is.EquivalentTo topLevel)

[<Test>]
let ``no file hides behind a name that says nothing`` () =
    let says (path: string) =
        let name = Path.GetFileNameWithoutExtension path

        [ "Utils"; "Util"; "Helpers"; "Helper"; "Common"; "Manager"; "Misc" ]
        |> List.forall (fun empty -> not (name.EndsWith(empty, StringComparison.OrdinalIgnoreCase)))

    Assert.That(tracked () |> Array.filter (says >> not), Is.Empty)

let private mentions (word: string) path =
    File.ReadAllText(Path.Combine(Repository.root, path)).Contains(word, StringComparison.OrdinalIgnoreCase)

/// The host of the package source in use, where it is a remote one.
let private feedHost () =
    match Uri.TryCreate(Environment.GetEnvironmentVariable "NUGET_FEED", UriKind.Absolute) with
    | true, feed when not (feed.IsFile || feed.IsLoopback) -> [ feed.Host ]
    | _ -> []

[<Test>]
let ``no tracked file names a package registry`` () =
    let hosts = feedHost () @ [ "nuget" + ".org"; "pkgs" + ".dev"; "myget" + ".org" ]

    let naming =
        tracked () |> Array.filter (fun path -> hosts |> List.exists (fun host -> mentions host path))

    Assert.That(naming, Is.Empty)

[<Test>]
let ``package files hold no address at all`` () =
    let isPackageFile (path: string) =
        let name = Path.GetFileName path

        name.StartsWith "paket."
        || name = "dotnet-tools.json"
        || name.EndsWith "proj"
        || name.EndsWith ".props"

    let naming = tracked () |> Array.filter isPackageFile |> Array.filter (mentions "://")
    Assert.That(naming, Is.Empty)
