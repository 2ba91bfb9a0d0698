/// What a program reads: one JSON document on the standard output, keys in snake_case.
module Legato.Cli.JsonOutput

open System.Text.Json
open System.Text.Json.Serialization

let private options =
    lazy
        (let options =
            JsonSerializerOptions(
                PropertyNamingPolicy = JsonNamingPolicy.SnakeCaseLower,
                NumberHandling = JsonNumberHandling.AllowNamedFloatingPointLiterals,
                WriteIndented = true
            )

         options.Converters.Add(
             JsonFSharpConverter(JsonUnionEncoding.UnwrapFieldlessTags ||| JsonUnionEncoding.UnwrapOption)
         )

         options)

let print (value: 'T) = printfn "%s" (JsonSerializer.Serialize(value, options.Value))
