/// One JSON value a line, as programs write them.
module Legato.Cli.JsonLines

open System
open System.Text.Json
open Legato.Runtime

/// The values of a text's lines; a line that holds none of the type is an error that names it.
let read<'T when 'T: null> (expected: string) source : 'T seq =
    TextInput.lines source
    |> Seq.map (fun (number, line) ->
        let unfit inner =
            LegatoException(
                $"this line isn't {expected}",
                $"{source.Name}, line {number}",
                $"write {expected} a line",
                inner
            )

        try
            match JsonSerializer.Deserialize<'T> line with
            | null -> raise (unfit null)
            | value -> value
        with
        | :? JsonException
        | :? InvalidOperationException as error -> raise (unfit error))
