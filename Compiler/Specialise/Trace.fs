/// What LEGATO_DEBUG shows of a compilation: levels 1 to 3 have every stage's graph checked, 3 prints it; 4 is for times.
module internal Legato.Compiler.Trace

open System
open System.IO
open Legato.Dsl
open Legato.Runtime

/// Checks the graph that a stage leaves, prints it, or neither, by the level.
/// <exception cref="ModelError">The graph isn't sound.</exception>
let write (level: int) (output: TextWriter) (stage: string) (roots: (string * Node) list) =
    if level = 3 then
        output.WriteLine $"{stage}:\n{Print.graph roots}"

    if level > 0 && level < 4 then
        Verify.graph (List.map snd roots)

/// The same at the process's level, to the error stream.
let stage (name: string) (roots: (string * Node) list) = write DebugLevel.Current Console.Error name roots
