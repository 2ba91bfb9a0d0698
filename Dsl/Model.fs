namespace Legato.Dsl

/// A slice of a checkpoint's tensor along one axis, in elements: one stretch, or, where several parameters take turns,
/// a stretch of every `Period`.
type Part = { Axis: int; Start: int; Length: int; Period: int option }

/// Where a parameter lies in a checkpoint: `Name` holds {0}, {1}, … for the indices of stacked axes.
type WeightName = {
    Path: string
    /// An axis of `stack` or `routed` that has no placeholder is the first axis of the tensor.
    Name: string
    /// The checkpoint stores the matrix with its two axes swapped.
    Transposed: bool
    Part: Part option
    /// What {0} is for each index of the first stacked axis; empty: 0, 1, …
    Numbers: int list
    /// The heads whose rotary pairs the checkpoint keeps as neighbouring rows; 0: rows lie as here.
    PairedHeads: int
    /// The first of the axes that make up the matrix's rows, such as heads, is an axis of the tensor by itself, with a matrix
    /// at each index.
    RowsApart: bool
    /// What the checkpoint has added to each of a vector's elements.
    Added: float
}

/// A family's table between parameter paths and checkpoint names.
type WeightNames = {
    Names: WeightName list
    /// What a checkpoint may put before every name; the first is written.
    Prefixes: string list
    /// Tensors that carry no weight.
    Ignored: string list
}

/// Lines of a family's table: `named "tokens" "wte.weight"`, `named "head" "head" |> transposed`.
[<AutoOpen>]
module WeightTable =
    /// The parameter at the path lies in the tensor of that name, as it is.
    let named path name = {
        Path = path
        Name = name
        Transposed = false
        Part = None
        Numbers = []
        PairedHeads = 0
        RowsApart = false
        Added = 0.0
    }

    /// The checkpoint stores the matrix as [in, out].
    let transposed source = { source with Transposed = true }

    /// The parameter is `length` elements of the tensor, from `start` on, along one of the tensor's axes.
    let part axis start length source = {
        source with
            Part = Some { Axis = axis; Start = start; Length = length; Period = None }
    }

    /// The parameter is the n-th of equal parts of the tensor along one of the tensor's axes.
    let nthPart axis length n source = source |> part axis (n * length) length

    /// The parameter is `length` elements, from `start` on, of every `period` along the tensor's first axis; single columns
    /// of a transposed matrix.
    let every period start length source = {
        source with
            Part = Some { Axis = 0; Start = start; Length = length; Period = Some period }
    }

/// An axis of a mesh of devices.
type MeshAxis =
    | Data
    | TensorParallel
    | ExpertParallel
    | PipelineParallel

/// A rule from an axis of the model to an axis of the mesh.
type PlacementRule = { Axis: string; Mesh: MeshAxis }

[<AutoOpen>]
module Placement =
    /// Places an axis: `on<Heads> TensorParallel`.
    let on<'Axis> mesh = { Axis = List.exactlyOne axisNames<'Axis>; Mesh = mesh }

/// A call of the model, elaborated.
type Elaborated = {
    Tokens: Node
    Logits: Node
    Parameters: Declared list
    /// Caches with their values after the call.
    Updates: (Node * Node) list
    /// What the routers did.
    Routers: RouterReport list
    /// What training tells beside the next tokens.
    Foretold: Foretold list
}

/// What a model does with its tokens.
type ModelTask =
    /// Tells each position's next token.
    | CausalLm
    /// Tells what stands at each position.
    | MaskedLm
    /// Tells each next token of a text that goes with the source.
    | SequenceToSequence
    /// Scores classes, of each position or of the whole text.
    | Classification

/// A model, its types erased: what the compiler and the runtime take.
[<NoComparison; NoEquality>]
type ModelDef = {
    Name: string
    /// The text of its config.json.
    Config: string
    Vocabulary: int
    /// The longest sequence it is meant for.
    Context: int
    BeginToken: int option
    EndTokens: int list
    Task: ModelTask
    /// The features of its output: the vocabulary, or classes.
    Output: Dim list
    Body: Layer<Tokens -> Node>
    Weights: WeightNames
    Placement: PlacementRule list
}

[<RequireQualifiedAccess>]
module ModelDef =
    let private plainNames: WeightNames = { Names = []; Prefixes = [ "" ]; Ignored = [] }

    /// A model of your own. Its checkpoints use the parameter paths as names.
    let create name (vocab: Axis<Vocab>) (context: Axis<Context>) body : ModelDef = {
        Name = name
        Config =
            $"{{\n  \"model_type\": \"{name}\",\n  \"vocab_size\": {vocab.Size},\n  \"max_position_embeddings\": {context.Size}\n}}\n"
        Vocabulary = vocab.Size
        Context = context.Size
        BeginToken = None
        EndTokens = []
        Task = CausalLm
        Output = vocab.Dims
        Body = body |> Layer.map (fun (f: Tokens -> Tensor<Batch * Seq, Vocab>) tokens -> (f tokens).Node)
        Weights = plainNames
        Placement = []
    }

    /// A model of your own that scores classes, of each position or of the whole text.
    let classifier
        name
        (vocab: Axis<Vocab>)
        (context: Axis<Context>)
        (classes: Axis<'Class>)
        (body: Layer<Tokens -> Tensor<'Pos, 'Class>>)
        =
        let unused = Layer.value (fun (_: Tokens) -> invalidOp "replaced below")

        {
            create name vocab context unused with
                Task = Classification
                Output = classes.Dims
                Body = body |> Layer.map (fun f tokens -> (f tokens).Node)
        }

    /// Builds the graph of one call: logits of every position.
    /// <exception cref="ModelError">Sizes that don't fit; the message names the axis and the parameters.</exception>
    let elaborate (sizes: CallSizes) (model: ModelDef) : Elaborated =
        let scope = Scope.Root sizes
        let f = model.Body.Elaborate scope
        let dims = [ { Name = "Batch"; Size = sizes.Batch }; { Name = "Seq"; Size = sizes.Sequence } ]
        let tokens = Node.input "tokens" dims Integer
        let logits = f (Tensor tokens)

        match logits.Dims |> List.filter (fun d -> d.Name <> "Batch" && d.Name <> "Seq") with
        | features when features = model.Output -> ()
        | other ->
            let show (dims: Dim list) = System.String.Join(", ", dims)

            raise (
                ModelError(
                    $"the model's output has the features [{show other}], not {show model.Output}",
                    model.Name,
                    "end the model in an output head over the vocabulary"
                )
            )

        {
            Tokens = tokens
            Logits = logits
            Parameters = List.ofSeq scope.Declared
            Updates = List.ofSeq scope.Updates
            Routers = List.ofSeq scope.Reports
            Foretold = List.ofSeq scope.Foretold
        }

    let private elements (parameter: Declared) =
        (1L, parameter.Node.Dims)
        ||> List.fold (fun n d ->
            match d.Size with
            | Fixed size -> n * size
            | Dynamic _ -> n)

    /// The parameters that the model declares.
    /// <exception cref="ModelError">The model does not elaborate.</exception>
    let parameters (model: ModelDef) : Declared list =
        let sizes = {
            Batch = Dynamic "batch"
            Sequence = Dynamic "sequence"
            Context = Dynamic "context"
            Source = Some(Dynamic "source")
            Dropout = 0.0
            IsCached = false
        }

        (elaborate sizes model).Parameters

    /// How many numbers the model learns; a tied head counts once.
    /// <exception cref="ModelError">The model does not elaborate.</exception>
    let parameterCount (model: ModelDef) : int64 = parameters model |> List.sumBy elements
