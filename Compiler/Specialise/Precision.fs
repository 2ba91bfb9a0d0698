/// How wide values are stored: a policy over the values of a call, not casts in a model.
///
/// Takes a request; gives each value its type in memory. Arithmetic is float32 whatever is stored: kernels widen what
/// they read and round what they write, products accumulate in float32 (Micikevicius et al. 2018, sections 3.1 to 3.3).
module Legato.Compiler.Precision

open Legato.Dsl
open Legato.Runtime
open Legato.Runtime.Plans

/// What a request's precision means for its values.
type Precision = {
    /// Parameters, as the model reads them.
    Parameters: ScalarType
    /// What every token has a vector of: activations, their gradients, the cache.
    Activations: ScalarType
    /// Whether the optimizer keeps the parameters in float32 beside those that the model reads.
    HasMasters: bool
    /// Whether the loss is scaled, so that small gradients survive in float16.
    ScalesLoss: bool
}

let float32 = {
    Parameters = ScalarType.F32
    Activations = ScalarType.F32
    HasMasters = false
    ScalesLoss = false
}

/// The type that a precision's weights have in memory.
/// <exception cref="LegatoException">The precision is not known.</exception>
let storageType name =
    match name with
    | "fp32"
    // float32 in memory; the devices that can may round the operands of products.
    | "tf32" -> ScalarType.F32
    | "bf16" -> ScalarType.BF16
    | "fp16" -> ScalarType.F16
    | other ->
        raise (LegatoException($"the precision '{other}' is not known", "precision", "use fp32, tf32, bf16 or fp16"))

/// <exception cref="LegatoException">The precision is not known.</exception>
let ofRequest (request: PlanRequest) : Precision =
    let narrow = storageType request.Precision
    let trains = request.Purpose = Purpose.Train

    let narrowsActivations = trains || request.Purpose = Purpose.Evaluate || request.NarrowActivations

    {
        Parameters = narrow
        Activations = if narrowsActivations then narrow else ScalarType.F32
        HasMasters = trains && narrow <> ScalarType.F32
        ScalesLoss = trains && narrow = ScalarType.F16
    }

let private positions = set [ "Batch"; "Seq"; "Context" ]

/// A vector for each token: position axes with the batch among them, and others.
let private isPerToken (node: Node) =
    Node.hasAxis "Batch" node && node.Axes |> List.exists (fun axis -> not (positions.Contains axis))

/// Sums, the statistics of a softmax, what was chosen, and what is computed of these alone.
let rec private isStatistic (node: Node) =
    match node.Op with
    | Op.Reduce _ -> true
    | Op.Map _ ->
        node.Inputs |> List.exists isPerToken
        && node.Inputs |> List.filter isPerToken |> List.forall isStatistic
    | Op.Item output ->
        match node.Inputs.Head.Op with
        | Op.TopK _ -> true
        | Op.Composite(Attend _) -> output = 1
        | _ -> false
    | _ -> false

/// Running sums: added to at every position, they would stand still in a narrow type.
let private isSum (node: Node) = Node.hasAxis sumFeature node && not (Node.hasAxis "Seq" node)

/// What choices are made by, in loops too: rounding would choose otherwise.
let rec private deciding (roots: Node list) : int list =
    Node.topological roots
    |> List.collect (fun node ->
        match node.Op with
        | Op.TopK _ -> [ (Units.viewBase node.Inputs.Head).Id ]
        | Op.Scan scan -> deciding scan.Results
        | _ -> [])

/// The type that each value of a graph has in memory.
let storage (precision: Precision) (roots: Node list) : Node -> ScalarType =
    let decides = System.Collections.Generic.HashSet<int>(deciding roots)

    fun node ->
        let whole = Units.viewBase node

        if node.Type <> Float then
            ScalarType.I32
        elif not (isPerToken node) || isSum node || isStatistic whole || decides.Contains whole.Id then
            ScalarType.F32
        else
            precision.Activations
