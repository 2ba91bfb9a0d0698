/// The reference checkpoints that stand beside the repository, where there are any.
module Legato.Tests.ModelGoldens

open System
open System.IO
open System.Text.Json

let private file golden name = Repository.shared $"goldens/{golden}/{name}"

let config golden = File.ReadAllText(file golden "config.json")

/// A safetensors file, read at its plainest: eight bytes of length, a JSON header, the elements.
type Tensors(golden, name) =
    let bytes = File.ReadAllBytes(file golden name)
    let start = 8 + int (BitConverter.ToUInt64(bytes, 0))

    let entries =
        use header = JsonDocument.Parse(ReadOnlyMemory(bytes, 8, start - 8))

        Map [
            for tensor in header.RootElement.EnumerateObject() do
                if tensor.Name <> "__metadata__" then
                    tensor.Name, tensor.Value.Clone()
        ]

    let numbers (tensor: string) (key: string) = [
        for number in entries[tensor].GetProperty(key).EnumerateArray() -> number.GetInt64()
    ]

    let span tensor =
        match numbers tensor "data_offsets" with
        | [ first; last ] -> bytes[start + int first .. start + int last - 1]
        | other -> failwith $"{tensor} has {other.Length} offsets"

    member _.Names = Map.keys entries |> List.ofSeq
    member _.Shape tensor = numbers tensor "shape"

    member _.Floats tensor = Array.chunkBySize 4 (span tensor) |> Array.map (fun b -> float (BitConverter.ToSingle b))

    member _.Integers tensor = Array.chunkBySize 8 (span tensor) |> Array.map (fun b -> float (BitConverter.ToInt64 b))
