/// Mistakes in a model that must not compile, each with the message that its author sees. The snippets and the messages
/// lie in Goldens/mistakes.
module Legato.Tests.LanguageTests

open System
open System.Diagnostics
open System.IO
open System.Text.RegularExpressions
open NUnit.Framework

let private folder = Path.Combine(Repository.root, "Tests", "Goldens", "mistakes")

let private snippets =
    Directory.GetFiles(folder, "*.fsx")
    |> Array.map Path.GetFileNameWithoutExtension
    |> Array.sort
    |> Array.except [ "preamble" ]

/// All snippets as one session: an interaction for each, under its own file name.
let private session () =
    let text name = File.ReadAllText(Path.Combine(folder, name + ".fsx"))
    let language = Path.Combine(AppContext.BaseDirectory, "Legato.Dsl.dll")

    [ $"#r @\"{language}\""; text "preamble" ]
    @ [ for name in snippets -> $"# 1 \"{name}.fsx\"\n{text name}" ]
    |> List.map (fun interaction -> interaction + "\n;;\n")
    |> String.concat ""

/// What F# Interactive complains about. Without FS0025 and FS0064 as errors, phantom axes would unify silently.
let private complaints () =
    let arguments = [ "fsi"; "--quiet"; "--nologo"; "--warnaserror:25,64" ]

    let info =
        ProcessStartInfo(
            "dotnet",
            arguments,
            RedirectStandardInput = true,
            RedirectStandardError = true,
            RedirectStandardOutput = true
        )

    use fsi = Process.Start info
    let errors = fsi.StandardError.ReadToEndAsync()
    let output = fsi.StandardOutput.ReadToEndAsync()
    fsi.StandardInput.Write(session ())
    fsi.StandardInput.Close()
    fsi.WaitForExit()
    output.Wait()
    errors.Result.ReplaceLineEndings "\n"

/// The first error of each snippet.
let private firstErrors =
    lazy
        (let heading =
            Regex(@"^.*?([\w-]+)\.fsx\((\d+),(\d+)\): (error|warning) (FS\d+): ", RegexOptions.Multiline)

         let text = complaints ()
         let found = heading.Matches text |> List.ofSeq
         let ends = (found |> List.skip (min 1 found.Length) |> List.map _.Index) @ [ text.Length ]

         List.zip found ends
         |> List.filter (fun (m, _) -> m.Groups[4].Value = "error")
         |> List.map (fun (m, stop) ->
             let message = text.Substring(m.Index + m.Length, stop - m.Index - m.Length)
             let lines = message.Split '\n' |> Array.map _.TrimEnd() |> String.concat "\n"

             m.Groups[1].Value,
             $"line {m.Groups[2].Value}, column {m.Groups[3].Value}: {m.Groups[5].Value}\n{lines.Trim()}\n")
         |> List.distinctBy fst
         |> Map.ofList)

[<TestCaseSource(nameof snippets)>]
let ``a mistake doesn't compile, and says what it is`` (name: string) =
    let message = firstErrors.Value |> Map.tryFind name |> Option.defaultValue "no error"
    Assert.That((message = "no error"), Is.EqualTo((name = "sound")), message)
    Golden.hold $"mistakes/{name}.txt" message
