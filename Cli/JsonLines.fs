/// The line protocols of programs: one JSON value a line in, one a line out.
module Legato.Cli.JsonLines

open System
open System.IO
open Legato.Runtime
open Legato.Runtime.Text

let private located (source: TextInput.Source) (mistake: LegatoException) =
    LegatoException(mistake.What, $"{source.Name}, {mistake.Where}", mistake.Remedy, mistake)

/// Answers every line of the inputs on the standard output. Lines that were no requests have their answer too; then the
/// exit code is that of a mistake, and the first of them is told.
let answer (inputs: string list) (protocol: TextReader -> TextWriter -> LineMistakes) =
    let mistakes = [
        for source in TextInput.lines inputs do
            let found = TextInput.readingLines source (fun lines -> protocol lines Console.Out)

            if found.Count > 0 then
                found.Count, located source found.First
    ]

    match mistakes with
    | [] -> 0
    | (_, first) :: _ ->
        let code = ErrorReport.print first

        match List.sumBy fst mistakes - 1 with
        | 0 -> ()
        | more -> eprintfn "and %d more: the answer to each says what is wrong" more

        code
