/// The reference checkpoints that stand beside the repository, where there are any.
module Legato.Tests.ModelGoldens

open System.IO
open System.Text.Json

let private file golden name = Repository.shared $"goldens/{golden}/{name}"

let config golden = File.ReadAllText(file golden "config.json")

/// The tensors that a safetensors file's header names, with their shapes.
let shapes golden name =
    use stream = File.OpenRead(file golden name)
    use reader = new BinaryReader(stream)
    let length = int (reader.ReadUInt64())
    use header = JsonDocument.Parse(reader.ReadBytes length)

    Map [
        for tensor in header.RootElement.EnumerateObject() do
            if tensor.Name <> "__metadata__" then
                tensor.Name, [ for size in tensor.Value.GetProperty("shape").EnumerateArray() -> size.GetInt64() ]
    ]
