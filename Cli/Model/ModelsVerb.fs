/// `legato models`: the families that Legato knows, and the presets with their sizes.
module Legato.Cli.ModelsVerb

open Argu
open Legato.Cli.ModelSource
open Legato.Models
open Legato.Runtime

type ModelsArgument =
    | Json

    interface IArgParserTemplate with
        member argument.Usage =
            match argument with
            | Json -> "print it as JSON"

type ModelsOptions = { Json: bool }

let options (given: ParseResults<ModelsArgument>) : Result<ModelsOptions, LegatoException list> =
    Arguments.options "legato models" (fun _ Json -> { Json = true }) { Json = false } (fun _ _ -> []) given

/// A preset, as a program reads it.
type PresetSize = {
    Name: string
    Family: string
    Parameters: int64
    Context: int
    Vocabulary: int
    About: string
}

let private sizeOf (preset: Preset) =
    let model = guarded (fun () -> Presets.model preset)

    {
        Name = preset.Name
        Family = Families.modelType preset.Config
        Parameters = Presets.parameters preset
        Context = model.Context
        Vocabulary = model.Vocabulary
        About = preset.About
    }

let private row size = [
    size.Name
    size.Family
    Units.count size.Parameters
    Units.count (int64 size.Context)
    Units.count (int64 size.Vocabulary)
    size.About
]

let run (options: ModelsOptions) =
    let families = Families.all |> List.map fst
    let presets = Presets.all |> List.map sizeOf

    if options.Json then
        JsonOutput.print {| Families = families; Presets = presets |}
    else
        printfn "families (model_type in config.json): %s\n" (String.concat ", " families)

        [ "preset"; "family"; "parameters"; "context"; "vocabulary"; "" ] :: List.map row presets
        |> Units.table [ 0; 1; 5 ]
        |> printf "%s"

    0
