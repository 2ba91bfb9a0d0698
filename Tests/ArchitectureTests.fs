/// The arrows between the assemblies: who may know whom.
module Legato.Tests.ArchitectureTests

open System.IO
open System.Reflection.Metadata
open System.Reflection.PortableExecutable
open NUnit.Framework

/// The Legato assemblies that an assembly was compiled against, read from its metadata without loading it.
let private legatoReferences (assembly: string) =
    use stream = File.OpenRead(Path.Combine(TestContext.CurrentContext.TestDirectory, assembly + ".dll"))
    use image = new PEReader(stream)
    let metadata = image.GetMetadataReader()

    [
        for handle in metadata.AssemblyReferences do
            let name = metadata.GetString(metadata.GetAssemblyReference(handle).Name)

            if name.StartsWith "Legato." then
                name
    ]
    |> List.sort

[<TestCase("Legato.Runtime", "")>]
[<TestCase("Legato.Dsl", "")>]
[<TestCase("Legato.Models", "Legato.Dsl")>]
[<TestCase("Legato.Compiler", "Legato.Dsl Legato.Runtime")>]
let ``an assembly knows only what the architecture allows`` (assembly: string) (allowed: string) =
    let surplus = legatoReferences assembly |> List.except (allowed.Split ' ')
    Assert.That(surplus, Is.Empty, $"{assembly} may use only [{allowed}]")
