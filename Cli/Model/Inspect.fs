/// `legato inspect`: a model's tree of parameters, and the memory that its parts take.
module Legato.Cli.Inspect

open Argu
open Legato.Cli.ModelSource
open Legato.Compiler
open Legato.Models
open Legato.Runtime
open Legato.Runtime.Checkpoints
open Legato.Runtime.Plans

type InspectArgument =
    | [<MainCommand>] Model of model: string
    | Json

    interface IArgParserTemplate with
        member argument.Usage =
            match argument with
            | Model _ -> "a preset, a checkpoint folder, a run folder or a GGUF file"
            | Json -> "print it as JSON"

type InspectOptions = { Model: string; Json: bool }

let private where = "legato inspect"

let private apply options argument =
    match argument with
    | Model name -> { options with Model = name }
    | Json -> { options with Json = true }

let options (given: ParseResults<InspectArgument>) : Result<InspectOptions, LegatoException list> =
    let checks _ options = [ Limits.given "MODEL" options.Model ]
    Arguments.options where apply { Model = ""; Json = false } checks given

/// A parameter, or a layer with all that is in it.
type Part = {
    Path: string
    /// Axes with their sizes; none for a layer.
    Shape: string
    Parameters: int64
}

/// What a checkpoint's files hold in one type.
type Stored = { Type: string; Tensors: int; Bytes: int64 }

/// The layers around a parameter, the outermost first: "a", "a.b" for a.b.c.
let private around (path: string) =
    let names = path.Split '.'
    [ for length in 1 .. names.Length - 1 -> String.concat "." names[.. length - 1] ]

let private shape (parameter: PlanParameter) =
    parameter.Axes |> Seq.map (fun axis -> $"{axis.Name} {axis.Size}") |> String.concat " × "

/// Every layer before what it holds, in the order of the declaration.
let private parts (parameters: PlanParameter seq) =
    let leaves = [ for p in parameters -> { Path = p.Path; Shape = shape p; Parameters = p.Elements } ]

    let layer path = {
        Path = path
        Shape = ""
        Parameters = leaves |> List.filter _.Path.StartsWith(path + ".") |> List.sumBy _.Parameters
    }

    let rec place path =
        let direct = leaves |> List.filter (fun leaf -> around leaf.Path |> List.contains path)
        let depth = path.Split('.').Length

        let children =
            direct |> List.map (fun leaf -> String.concat "." (leaf.Path.Split('.')[..depth])) |> List.distinct

        layer path :: List.collect under children

    and under path =
        match leaves |> List.tryFind (fun leaf -> leaf.Path = path) with
        | Some leaf -> [ leaf ]
        | None -> place path

    leaves |> List.map (fun leaf -> leaf.Path.Split('.')[0]) |> List.distinct |> List.collect under

let private storedIn (path: string) =
    use tensors = HubCheckpoint.Open path

    tensors.Names
    |> Seq.map (fun name -> (tensors.Find name).Info)
    |> Seq.groupBy _.Type
    |> Seq.map (fun (kind, all) -> {
        Type = kind.FormatName()
        Tensors = Seq.length all
        Bytes = all |> Seq.sumBy _.Bytes
    })
    |> Seq.sortByDescending _.Bytes
    |> List.ofSeq

/// Bytes of an element in the types that Legato computes with.
let private precisions = [ "fp32", 4L; "bf16, fp16", 2L ]

let private memory parameters = precisions |> List.map (fun (_, size) -> Units.bytes (size * parameters))

let private row part =
    let names = part.Path.Split '.'

    [
        String.replicate (names.Length - 1) "  " + Array.last names
        part.Shape
        Units.count part.Parameters
        yield! memory part.Parameters
    ]

let private print (model: ModelDescription) family parts stored =
    printfn
        "%s: %s, vocabulary %s, context %s\n"
        model.Name
        family
        (Units.count model.Vocabulary)
        (Units.count model.Context)

    let total = model.Parameters |> Seq.sumBy _.Elements
    let head = "part" :: "shape" :: "parameters" :: List.map fst precisions
    let sum = "total" :: "" :: Units.count total :: memory total

    head :: List.map row parts @ [ sum ] |> Units.table [ 0; 1 ] |> printf "%s"

    for kind in stored do
        printfn
            "%s%d tensors of %s, %s"
            (if kind = List.head stored then "\nstored: " else "        ")
            kind.Tensors
            kind.Type
            (Units.bytes kind.Bytes)

let private show (options: InspectOptions) =
    let source = find options.Model
    let model = (CompiledModel(definition source) :> IPlanSource).Model
    let family = Families.modelType source.Config
    let parts = parts model.Parameters
    let stored = source.Folder |> Option.map storedIn |> Option.defaultValue []

    if options.Json then
        JsonOutput.print {|
            Model = model.Name
            Family = family
            Vocabulary = model.Vocabulary
            Context = model.Context
            Parameters = model.Parameters |> Seq.sumBy _.Elements
            Parts = parts
            Stored = stored
        |}
    else
        print model family parts stored

    // What the config counts and what lies there are both of use where they differ.
    source.Folder |> Option.iter (fun path -> HubCheckpoint.RequireFit(path, model))
    0

let run (options: InspectOptions) = tellingWhole options.Model (fun () -> show options)
