/// The line protocols of programs: one JSON value a line in, one a line out.
module Legato.Cli.JsonLines

open System
open System.IO
open Legato.Runtime

/// Answers every line of the inputs on the standard output; a mistake names its input beside its line.
let answer (inputs: string list) (protocol: TextReader -> TextWriter -> unit) =
    for source in TextInput.sources inputs do
        try
            TextInput.reading source (fun reader -> protocol reader Console.Out)
        with :? LegatoException as error when not (isNull error.Where) && error.Where.StartsWith "line " ->
            raise (LegatoException(error.What, $"{source.Name}, {error.Where}", error.Remedy, error))
