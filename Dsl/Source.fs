namespace Legato.Dsl

/// The text that an encoder reads: tokens, and how many of each row are no padding.
type SourceText = { Tokens: Tensor<Batch * Source, unit>; Lengths: Tensor<Batch, unit> }

/// Keys and values of what an encoder has read: written once for a text, read by every later call.
[<Sealed>]
type SourceCache<'Heads, 'Dim> internal (append: Node -> Node -> Node * Node) =
    member _.Append
        (k: Tensor<'B * Source, 'Heads * 'Dim>, v: Tensor<'B * Source, 'Heads * 'Dim>)
        : Tensor<'B * Memory, 'Heads * 'Dim> * Tensor<'B * Memory, 'Heads * 'Dim> =
        let keys, values = append k.Node v.Node
        Tensor keys, Tensor values

[<AutoOpen>]
module Sources =
    let private sizeOf (scope: Scope) =
        match scope.Sizes.Source with
        | Some size -> size
        | None ->
            raise (
                ModelError(
                    "the model reads a text with an encoder, the call has none",
                    scope.PathOf "source",
                    "give the length of the source"
                )
            )

    /// The call's source.
    let source: Layer<SourceText> =
        Layer(fun scope ->
            let batch = { Name = "Batch"; Size = scope.Sizes.Batch }
            let positions = { Name = "Source"; Size = sizeOf scope }

            {
                Tokens = Tensor(Node.input "source" [ batch; positions ] Integer)
                Lengths = Tensor(Node.input "source_lengths" [ batch ] Integer)
            })

    /// Positions of the source's tokens.
    let sourcePositions (tokens: Tensor<'B * Source, 'Feat>) : Tensor<'B * Source, unit> =
        Tensor(Node.iota (Node.dim "Source" tokens.Node))

    /// The call's own tokens.
    let callTokens: Layer<Tokens> =
        Layer(fun scope ->
            let batch = { Name = "Batch"; Size = scope.Sizes.Batch }
            Tensor(Node.input "tokens" [ batch; { Name = "Seq"; Size = scope.Sizes.Sequence } ] Integer))

    /// Positions of the call's own tokens, wherever they are.
    let callPositions: Layer<Tensor<Batch * Seq, unit>> =
        Layer(fun scope ->
            let batch = { Name = "Batch"; Size = scope.Sizes.Batch }
            let sequence = { Name = "Seq"; Size = scope.Sizes.Sequence }
            Tensor(Node.add (Node.input "past" [ batch ] Integer) (Node.iota sequence)))

    /// Positions of what a decoder's queries can see of its own text.
    let contextPositions: Layer<Tensor<Context, unit>> =
        Layer(fun scope -> Tensor(Node.iota { Name = "Context"; Size = scope.Sizes.Context }))

    /// Sines and cosines of the position at wavelengths from 2π to 2π · 10000, a pair of features for each
    /// (Vaswani et al. 2017, section 3.5).
    let sinusoids (feature: Axis<'Feat>) (positions: Tensor<'Pos, unit>) : Tensor<'Pos, 'Feat> =
        let vector f = Node.make (Op.ConstVector(List.init feature.Size f, List.exactlyOne feature.Dims)) []

        let frequencies = vector (fun i -> 10000.0 ** (-float(i / 2 * 2) / float feature.Size))
        let phases = vector (fun i -> if i % 2 = 0 then 0.0 else System.Math.PI / 2.0)
        Tensor(Node.map (Un(Sin, Un(ToFloat, Arg 0) * Arg 1 + Arg 2)) [ positions.Node; frequencies; phases ])

    /// A cache of the source's keys and values.
    let sourceCache name (heads: Axis<'Heads>) (dim: Axis<'Dim>) : Layer<SourceCache<'Heads, 'Dim>> =
        Layer(fun scope ->
            let batch = { Name = "Batch"; Size = scope.Sizes.Batch }
            let dims = batch :: { Name = "Memory"; Size = sizeOf scope } :: heads.Dims @ dim.Dims
            let start = Node.map (Int 0L) []

            let keep suffix =
                let state, tell = scope.State(name + suffix, dims)

                fun (value: Node) ->
                    let updated = Node.make (Op.Append("Memory", "Source")) [ state; value; start ]
                    tell updated
                    updated

            let keys, values = keep "_k", keep "_v"
            SourceCache(fun k v -> keys k, values v))
