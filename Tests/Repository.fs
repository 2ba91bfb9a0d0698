/// Where the tests find the repository, and what lies beside it.
module Legato.Tests.Repository

open System
open System.IO
open NUnit.Framework

/// The nearest folder above the test assembly that holds the solution.
let root =
    let rec climb (folder: DirectoryInfo) =
        match folder with
        | null -> failwith "no folder above the tests holds Legato.slnx"
        | found when File.Exists(Path.Combine(found.FullName, "Legato.slnx")) -> found.FullName
        | deeper -> climb deeper.Parent

    climb (DirectoryInfo AppContext.BaseDirectory)

/// A path inside the folder `shared` beside the repository; where there is none, the test is skipped.
let shared (path: string) =
    let found = Path.GetFullPath(Path.Combine(root, "..", "shared", path))

    if not (Path.Exists found) then
        Assert.Ignore $"shared/{path} is not beside the repository"

    found
