namespace Legato.Models

open Legato.Dsl

/// What families share beside their layers.
[<RequireQualifiedAccess>]
module Family =
    /// Heads, feed-forward and vocabulary over the devices of one layer (Shoeybi et al. 2019), layers over stages, rows
    /// over replicas.
    let private placement = [
        on<Batch> Data
        on<Heads> TensorParallel
        on<KvHeads> TensorParallel
        on<Mlp> TensorParallel
        on<Vocab> TensorParallel
        on<Expert> ExpertParallel
        on<Layers> PipelineParallel
    ]

    /// A model with what the config says of its tokens, and its table of names.
    /// <exception cref="ModelError">The sizes don't fit, or the table lacks a parameter.</exception>
    let define (json: ConfigJson) vocab table (model: ModelDef) : ModelDef =
        let described = {
            model with
                Config = Config.text json.Json
                BeginToken = Config.beginToken vocab json
                EndTokens = Config.endTokens vocab json
                Placement = placement
        }

        { described with Weights = Table.resolve table (ModelDef.parameters described) }

    /// A family's decoder with its table of names, as the config describes it.
    /// <exception cref="ModelError">As of define.</exception>
    let model modelType json vocab context body table =
        ModelDef.create modelType vocab context body |> define json vocab table
