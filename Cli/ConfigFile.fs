/// A run's settings from a JSON file: one object whose keys are a verb's flags without their dashes.
/// A switch takes true or false, a flag that may be given several times also an array, `set` an object too.
module Legato.Cli.ConfigFile

open System
open System.IO
open System.Text
open System.Text.Json
open Argu
open FSharp.Reflection
open FsToolkit.ErrorHandling
open Legato.Runtime
open Legato.Runtime.Data

/// One setting: the key, the line it stands on, and its value.
[<NoComparison>]
type private Setting = { Key: string; Line: int; Value: JsonElement }

/// What a file says of one flag.
[<NoComparison>]
type Given<'Argument> = {
    Flag: string
    /// The file, the line and the key.
    Place: string
    Arguments: 'Argument list
}

/// Bytes of the longest config.
let private longest = 1 <<< 24

/// A file's bytes, but for a byte order mark before them.
let private read path =
    try
        match EndlessFile.ReadWithin(path, longest) with
        | null -> Error [ Mistake.at path "write flags and their values" $"a config has at most {longest} bytes" ]
        | bytes -> Ok(bytes.AsSpan().TrimStart(ReadOnlySpan<byte>.op_Implicit(Encoding.UTF8.GetPreamble())).ToArray())
    with
    | :? LegatoException as error -> Error [ error ]
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

        Error [ Mistake.at $"{path}, line {line}" "correct the JSON there" "the file isn't valid JSON" ]

let private flagOf key = "--" + key

/// The key of a flag, or of the main argument, which has no flag.
let private keyOf (case: ArgumentCaseInfo) =
    if case.IsMainCommand then
        case.UnionCaseInfo.Name.ToLowerInvariant()
    else
        case.CommandLineNames.Value.Head.TrimStart '-'

let private text (value: JsonElement) =
    match value.ValueKind with
    | JsonValueKind.String -> Some(value.GetString())
    | _ -> None

let private assignment (property: JsonProperty) =
    match property.Value.ValueKind with
    | JsonValueKind.Number
    | JsonValueKind.True
    | JsonValueKind.False -> Some(property.Value.GetRawText())
    | _ -> text property.Value
    |> Option.map (fun value -> $"{property.Name}={value}")

/// All the values, or None if one of them is missing.
let private all values = if List.forall Option.isSome values then Some(List.choose id values) else None

/// What a key takes, by its flag.
[<RequireQualifiedAccess>]
type private Kind =
    | Switch
    /// Up to a bound.
    | Whole of most: string
    | Decimal
    | Choice of names: string list
    | Text
    | Texts
    /// Keys of a model's config and their values.
    | Assignments

let private kindOf (case: ArgumentCaseInfo) =
    match case.UnionCaseInfo.GetFields() |> Array.map _.PropertyType with
    | [||] -> Kind.Switch
    | [| kind |] when kind = typeof<int> -> Kind.Whole(string Int32.MaxValue)
    | [| kind |] when kind = typeof<uint64> -> Kind.Whole(string UInt64.MaxValue)
    | [| kind |] when kind = typeof<float> -> Kind.Decimal
    | [| kind |] when kind <> typeof<string> && FSharpType.IsUnion kind && not kind.IsGenericType ->
        Kind.Choice [ for name in FSharpType.GetUnionCases kind -> name.Name.ToLowerInvariant() ]
    | _ when case.UnionCaseInfo.Name = "Set" -> Kind.Assignments
    | _ when Repeatable.takesSeveral case -> Kind.Texts
    | _ -> Kind.Text

/// The value as the words that would follow the flag on a command line; None where no word can say it.
let private words kind (value: JsonElement) =
    match kind, value.ValueKind with
    | (Kind.Whole _ | Kind.Decimal), JsonValueKind.Number -> Some [ value.GetRawText() ]
    | (Kind.Texts | Kind.Assignments), JsonValueKind.Array ->
        value.EnumerateArray() |> Seq.map text |> List.ofSeq |> all
    | Kind.Assignments, JsonValueKind.Object -> value.EnumerateObject() |> Seq.map assignment |> List.ofSeq |> all
    | (Kind.Choice _ | Kind.Text | Kind.Texts | Kind.Assignments), _ -> text value |> Option.map List.singleton
    | _ -> None

/// The command line that would say the same as the setting.
let private tokens (case: ArgumentCaseInfo) setting =
    match kindOf case, setting.Value.ValueKind with
    | Kind.Switch, JsonValueKind.True -> Some [ flagOf setting.Key ]
    | Kind.Switch, JsonValueKind.False -> Some []
    | kind, _ when case.IsMainCommand -> words kind setting.Value
    | kind, _ -> words kind setting.Value |> Option.map (List.collect (fun value -> [ flagOf setting.Key; value ]))

/// Characters of a wrong value that are shown.
let private shown = 60

let private unfit where (case: ArgumentCaseInfo) setting =
    let raw = setting.Value.GetRawText()
    let value = if raw.Length > shown then raw[.. shown - 1] + "…" else raw

    let takes, remedy =
        match kindOf case with
        | Kind.Switch -> "true or false", "write one of them, without quotes"
        | Kind.Whole most -> $"a whole number of up to {most}", "write digits alone, without quotes, as in 100"
        | Kind.Decimal -> "a number", "write it without quotes, as in 0.5 or 1e-4"
        | Kind.Choice names ->
            let meant = text setting.Value |> Option.bind (ErrorReport.meantAmong names)
            let remedy = meant |> Option.map (fun name -> $"did you mean \"{name}\"?")
            "one of " + String.concat ", " names, Option.defaultValue "write one of them, in quotes" remedy
        | Kind.Text when setting.Value.ValueKind = JsonValueKind.String -> "a text that is no flag", "choose another"
        | Kind.Text -> "one text", "write it in quotes"
        | Kind.Texts -> "a text or an array of texts", "write each in quotes"
        | Kind.Assignments ->
            "an object, or an array of texts", "write keys of the model's config and their values: { \"KEY\": VALUE }"

    Mistake.at where remedy $"'{setting.Key}' takes {takes}, and {value} is none"

let private parse (parser: ArgumentParser<'Argument>) path (cases: Map<string, ArgumentCaseInfo>) setting =
    let where = $"{path}, line {setting.Line}, key '{setting.Key}'"

    match cases.TryFind setting.Key |> Option.map (fun case -> case, tokens case setting) with
    | None ->
        let known = cases |> Map.toSeq |> Seq.map fst

        Error [ Mistake.at where (Mistake.chooseAmong known setting.Key) $"unknown config key '{setting.Key}'" ]
    | Some(case, None) -> Error [ unfit where case setting ]
    | Some(case, Some line) ->
        try
            let parsed = parser.Parse(Array.ofList line, raiseOnUsage = false, ignoreMissing = true)
            Ok { Flag = flagOf setting.Key; Place = where; Arguments = parsed.GetAllResults() }
        with :? ArguParseException ->
            Error [ unfit where case setting ]

let private unique path (settings: Setting list) =
    settings
    |> List.countBy _.Key
    |> List.filter (fun (_, count) -> count > 1)
    |> List.map (fun (key, _) -> Mistake.at path "keep one of them" $"the config gives '{key}' more than once")
    |> function
        | [] -> Ok settings
        | mistakes -> Error mistakes

/// What a config file gives, for the flags of this parser; a config can't name another config.
let load (parser: ArgumentParser<'Argument>) path : Result<Given<'Argument> list, LegatoException list> =
    let cases =
        parser.GetArgumentCases()
        |> List.map (fun case -> keyOf case, case)
        |> List.filter (fun (key, _) -> key <> "config")
        |> Map.ofList

    result {
        let! bytes = read path
        let! settings = settings path bytes
        let! settings = unique path settings

        return! settings |> List.traverseResultA (parse parser path cases) |> Result.mapError List.concat
    }
