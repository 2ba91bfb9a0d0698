namespace Legato.Dsl

/// Later tokens than the next one, which a model learns to tell so that it plans ahead (Gloeckle et al. 2024; DeepSeek-AI
/// 2024, V3, section 2.2). Calls that don't train compute nothing of it.
[<RequireQualifiedAccess>]
module Ahead =
    let private axis = "Seq"

    /// The last place of the sequence.
    let last (dim: Dim) =
        match dim.Size with
        | Fixed size -> Node.map (Int(size - 1L)) []
        | Dynamic _ -> Node.reduce Maximum [ dim.Name ] (Node.iota dim)

    /// What stands so many places later along the sequence; behind the last ones the last.
    let later (by: int) (x: Node) : Node =
        let dim = Node.dim axis x
        let place = Node.map (Bin(Min, Arg 0 + Int(int64 by), Arg 1)) [ Node.iota dim; last dim ]
        Node.gather axis x place |> Node.broadcast x.Dims

[<AutoOpen>]
module AheadWords =
    /// The tokens that stand so many places later; behind the last ones the last.
    let ahead (by: int) (tokens: Tokens) : Tokens = Tensor(Ahead.later by tokens.Node)

    /// A part of the model for training alone: its caches are none.
    let inTraining (inner: Layer<'T>) : Layer<'T> =
        Layer(fun scope -> inner.Elaborate(scope.Framed(Aside(System.Collections.Generic.List()))))

    /// `tell by weight logits`: at each position the logits are for the token that stands `by` places behind the next one, and
    /// their mean loss counts by the weight.
    let foretell: Layer<int -> float -> Tensor<Batch * Seq, Vocab> -> unit> =
        Layer(fun scope by weight logits -> scope.Foretell { By = by; Weight = weight; Logits = logits.Node })
