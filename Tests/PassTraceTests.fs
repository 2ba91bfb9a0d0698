/// LEGATO_DEBUG: graphs are checked at every level, and printed at the third.
module Legato.Tests.PassTraceTests

open System.IO
open Legato.Compiler
open Legato.Dsl
open Legato.Tests.GraphValues
open NUnit.Framework

let private sound = [ "sum", Node.reduce Sum [ "A" ] (floats "x" [ dim "A" 2 ]) ]

// What no constructor makes: a slice that ends behind its axis.
let private broken = [ "part", Node.slice "A" 1L 2L (floats "x" [ dim "A" 2 ]) ]

let private written level roots =
    use output = new StringWriter()
    Trace.write level output "simplified" roots
    output.ToString()

[<TestCase(0)>]
[<TestCase(1)>]
[<TestCase(2)>]
[<TestCase(4)>]
let ``other levels print no graph`` (level: int) = Assert.That(written level sound, Is.Empty)

[<Test>]
let ``the third level prints the stage and its graph`` () =
    Assert.That(written 3 sound, Does.StartWith("simplified:").And.Contains("Reduce Sum A"))

[<Test>]
let ``a level that shows what was compiled checks the graph`` ([<Values(1, 2, 3)>] level: int) =
    Assert.That(message (fun () -> written level broken |> ignore), Is.Not.Empty)

[<Test>]
let ``nothing is checked without a level, nor where times are taken`` ([<Values(0, 4)>] level: int) =
    Assert.That(written level broken, Is.Empty)
