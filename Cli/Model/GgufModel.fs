/// The model that a GGUF file holds, and the metadata that a model is given.
module Legato.Cli.GgufModel

open System.Collections.Generic
open Legato.Dsl
open Legato.Models
open Legato.Runtime
open Legato.Runtime.Checkpoints

let private value (metadata: GgufMetadata) key : GgufValue option =
    match metadata.Scalar key with
    | :? int64 as n -> Some(Whole n)
    | :? uint64 as n -> Some(Whole(int64 n))
    | :? float as x -> Some(Real x)
    | :? string as text -> Some(Word text)
    | :? bool as flag -> Some(Flag flag)
    | _ -> None

let private embedding = "token_embd.weight"
let private head = "output.weight"

let private facts (file: GgufFile) : GgufConfig.Facts =
    match file.Find embedding with
    | null -> raise (LegatoException($"the file holds no {embedding}", file.Path, "use a file of a whole model"))
    | tokens when tokens.Info.Shape.Count <> 2 || tokens.Info.Shape[0] > int64 System.Int32.MaxValue ->
        raise (
            LegatoException(
                $"{embedding} is {tokens.Info.ShapeText}, no embedding",
                file.Path,
                "use a file of a whole model"
            )
        )
    | tokens -> {
        Vocabulary = int tokens.Info.Shape[0]
        HasHead = not (isNull (file.Find head))
        RopeDivisors =
            GgufRope.tensors
            |> List.filter (file.Find >> isNull >> not)
            |> List.map (fun name -> name, List.ofArray (file.Singles name))
      }

/// The config.json that says what the file says.
/// <exception cref="ModelError">The file's model is not known.</exception>
/// <exception cref="LegatoException">The file can't be read.</exception>
let config (path: string) : string =
    use file = new GgufFile(path)
    GgufConfig.ofMetadata (value file.Metadata) (facts file)

/// A file's architecture, and its blocks that tell later tokens.
let private blocks (path: string) =
    use file = new GgufFile(path)
    let architecture = GgufConfig.architecture (value file.Metadata)
    let own key = value file.Metadata key
    architecture, GgufConfig.laterBlocks architecture own

/// Whether a file has blocks that tell later tokens, which the model doesn't read.
/// <exception cref="ModelError">The file's model is not known.</exception>
/// <exception cref="LegatoException">The file can't be read.</exception>
let tellsLater (path: string) = blocks path |> snd |> List.isEmpty |> not

/// The model under the names that a file has for it.
/// <exception cref="ModelError">GGUF has none for it.</exception>
/// <exception cref="LegatoException">The file can't be read.</exception>
let namedAs (path: string) (model: ModelDef) : ModelDef =
    let architecture, later = blocks path
    GgufNames.rename architecture (later |> List.collect (GgufNames.ofLaterBlock architecture)) model

/// The model under the names that GGUF files are written with.
/// <exception cref="ModelError">GGUF has none for it.</exception>
let named (model: ModelDef) : ModelDef =
    GgufNames.rename (GgufNames.ofModelType (Families.modelType model.Config)) [] model

let private boxed entry : obj =
    match entry with
    | Whole n -> uint32 n
    | Real x -> float32 x
    | Word text -> text
    | Flag flag -> flag

/// The metadata of a model by its name and its config, and the tensors that go with it.
/// <exception cref="ModelError">GGUF can't say what the config says.</exception>
let describe name config : KeyValuePair<string, obj> list * KeyValuePair<string, float32[]> list =
    let metadata, divisors = GgufConfig.toMetadata config

    [
        yield KeyValuePair("general.name", box name)
        for key, value in metadata -> KeyValuePair(key, boxed value)
    ],
    [ for name, vector in divisors -> KeyValuePair(name, Array.ofList vector) ]
