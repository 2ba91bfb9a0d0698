namespace Legato.Models

open Legato.Dsl

/// Where a family's parameters lie in its checkpoints, as data. A module is what a checkpoint keeps a weight and
/// perhaps a bias of: its line serves a model with biases and one without.
type Table = {
    /// Lines from the path of a module to its name; a part's axis is that of the outputs.
    Modules: WeightName list
    /// Lines from the path of a parameter to the name of its tensor; a part's axis is that of the outputs here too.
    Tensors: WeightName list
    /// What a checkpoint may put before every name; the first is written.
    Prefixes: string list
    /// Tensors that carry no weight.
    Ignored: string list
}

[<RequireQualifiedAccess>]
module Table =
    let ofModules modules = { Modules = modules; Tensors = []; Prefixes = [ "" ]; Ignored = [] }

    // Layers that differ are runs of their own in the model, and numbered through in a checkpoint.
    let private withoutRuns (path: string) = path.Split '.' |> Array.filter (Runs.isName >> not) |> String.concat "."

    let private leaf (path: string) (m: WeightName) =
        match path.Substring m.Path.Length with
        | ""
        | ".weight"
        | ".gain" -> Some ".weight"
        | ".bias" -> Some ".bias"
        | _ -> None

    // What a module's line says of its matrix, told of one of its parameters.
    let private lineOf (parameter: Declared) (m: WeightName) (suffix: string) =
        let isTurned = m.Transposed && parameter.Grouping.Length = 2
        let turn (part: Part) = if isTurned then { part with Axis = 1 - part.Axis } else part
        { m with Name = m.Name + suffix; Transposed = isTurned; Part = Option.map turn m.Part }

    let private find table (parameter: Declared) =
        let path = withoutRuns parameter.Parameter.Path

        let ofModule (m: WeightName) =
            if path.StartsWith m.Path then
                leaf path m |> Option.map (lineOf parameter m)
            else
                None

        table.Tensors
        |> List.tryFind (fun line -> line.Path = path)
        |> Option.map (fun line -> lineOf parameter line "")
        |> Option.orElseWith (fun () -> List.tryPick ofModule table.Modules)

    /// The table's lines for the parameters that a model declares.
    /// <exception cref="ModelError">The table has no line for one.</exception>
    let resolve (table: Table) (declared: Declared list) : WeightNames =
        let line (parameter: Declared) =
            let path = parameter.Parameter.Path

            match find table parameter with
            | Some line -> { line with Path = path; Numbers = parameter.Numbers }
            | None ->
                raise (ModelError($"the family's table has no line for {path}", path, "add its module to the table"))

        { Names = List.map line declared; Prefixes = table.Prefixes; Ignored = table.Ignored }
