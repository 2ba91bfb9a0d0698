/// A run's settings from a JSON file: one object whose keys are a verb's flags without their dashes.
/// A switch takes true or false, a flag that takes several values an array, `set` also an object.
module Legato.Cli.ConfigFile

open System
open System.IO
open System.Text.Json
open Argu
open FsToolkit.ErrorHandling
open Legato.Runtime

/// One setting: the key, the line it stands on, and its value.
[<NoComparison>]
type private Setting = { Key: string; Line: int; Value: JsonElement }

let private read path =
    try
        Ok(File.ReadAllBytes path)
    with
    | :? IOException
    | :? UnauthorizedAccessException as error ->
        Error [
            Mistake.at path "give a file that can be read" $"the config can't be read: {FileHindrance.Of(error, path)}"
        ]

/// The lines of the outermost object's keys, in order.
let private keyLines (bytes: byte[]) =
    let lines = ResizeArray()
    let mutable reader = Utf8JsonReader(ReadOnlySpan bytes)

    while reader.Read() do
        if reader.TokenType = JsonTokenType.PropertyName && reader.CurrentDepth = 1 then
            let before = bytes.AsSpan(0, int reader.TokenStartIndex)
            lines.Add(1 + MemoryExtensions.Count(Span.op_Implicit before, byte '\n'))

    List.ofSeq lines

let private settings path (bytes: byte[]) =
    try
        let document = JsonDocument.Parse(ReadOnlyMemory bytes).RootElement

        if document.ValueKind <> JsonValueKind.Object then
            Error [ Mistake.at path "write one object, such as { \"steps\": 100 }" "a config is one JSON object" ]
        else
            List.zip (keyLines bytes) (List.ofSeq (document.EnumerateObject()))
            |> List.map (fun (line, property) -> { Key = property.Name; Line = line; Value = property.Value })
            |> Ok
    with :? JsonException as error ->
        let line = error.LineNumber.GetValueOrDefault() + 1L

        Error [ Mistake.at $"{path}, line {line}" "correct the JSON there" "the config isn't valid JSON" ]

let private flagOf key = "--" + key

/// The key of a flag, or of the main argument, which has no flag.
let private keyOf (case: ArgumentCaseInfo) =
    if case.IsMainCommand then
        case.UnionCaseInfo.Name.ToLowerInvariant()
    else
        case.CommandLineNames.Value.Head.TrimStart '-'

let private scalar (value: JsonElement) =
    match value.ValueKind with
    | JsonValueKind.String -> Some(value.GetString())
    | JsonValueKind.Number -> Some(value.GetRawText())
    | _ -> None

let private assignment (property: JsonProperty) =
    scalar property.Value |> Option.map (fun text -> $"{property.Name}={text}")

/// All the values, or None if one of them is missing.
let private all values = if List.forall Option.isSome values then Some(List.choose id values) else None

/// The value as the words that would follow the flag on a command line; None where no word can say it.
let private words (value: JsonElement) =
    match value.ValueKind with
    | JsonValueKind.Array -> value.EnumerateArray() |> Seq.map scalar |> List.ofSeq |> all
    | JsonValueKind.Object -> value.EnumerateObject() |> Seq.map assignment |> List.ofSeq |> all
    | _ -> scalar value |> Option.map List.singleton

/// Whether what the flag takes is a number, which JSON writes without quotes.
let private takesNumber (case: ArgumentCaseInfo) =
    case.UnionCaseInfo.GetFields()
    |> Array.exists (fun field -> field.PropertyType.IsPrimitive && field.PropertyType <> typeof<bool>)

/// The command line that would say the same as the setting.
let private tokens (case: ArgumentCaseInfo) setting =
    let isSwitch = case.UnionCaseInfo.GetFields().Length = 0

    match isSwitch, setting.Value.ValueKind with
    | true, JsonValueKind.True -> Some [ flagOf setting.Key ]
    | true, JsonValueKind.False -> Some []
    | true, _ -> None
    | false, kind when takesNumber case && kind <> JsonValueKind.Number -> None
    | false, JsonValueKind.Array when case.IsMainCommand && not (Repeatable.takesSeveral case) -> None
    | false, _ when case.IsMainCommand -> words setting.Value
    | false, _ when Repeatable.isRepeatable case ->
        words setting.Value |> Option.map (List.collect (fun value -> [ flagOf setting.Key; value ]))
    | false, _ -> words setting.Value |> Option.map (fun values -> flagOf setting.Key :: values)

let private parse (parser: ArgumentParser<'Argument>) path (cases: Map<string, ArgumentCaseInfo>) setting =
    let where = $"{path}, line {setting.Line}, key '{setting.Key}'"

    let unfit () =
        Error [ Mistake.at where "see the flag's help" $"{setting.Value.GetRawText()} is no value for this key" ]

    match cases.TryFind setting.Key |> Option.map (fun case -> tokens case setting) with
    | None ->
        let known = cases |> Map.toSeq |> Seq.map fst

        Error [ Mistake.at where (Mistake.chooseAmong known setting.Key) $"unknown config key '{setting.Key}'" ]
    | Some None -> unfit ()
    | Some(Some line) ->
        try
            Ok(parser.Parse(Array.ofList line, raiseOnUsage = false, ignoreMissing = true).GetAllResults())
        with :? ArguParseException ->
            unfit ()

let private unique path (settings: Setting list) =
    settings
    |> List.countBy _.Key
    |> List.filter (fun (_, count) -> count > 1)
    |> List.map (fun (key, _) -> Mistake.at path "keep one of them" $"the config gives '{key}' more than once")
    |> function
        | [] -> Ok settings
        | mistakes -> Error mistakes

/// The arguments that a config file gives, for the flags of this parser; a config can't name another config.
let load (parser: ArgumentParser<'Argument>) path : Result<'Argument list, LegatoException list> =
    let cases =
        parser.GetArgumentCases()
        |> List.map (fun case -> keyOf case, case)
        |> List.filter (fun (key, _) -> key <> "config")
        |> Map.ofList

    result {
        let! bytes = read path
        let! settings = settings path bytes
        let! settings = unique path settings

        let! arguments =
            settings |> List.traverseResultA (parse parser path cases) |> Result.mapError List.concat

        return List.concat arguments
    }
