namespace Legato.Dsl

/// Keys and values of earlier positions: a pure value. `Append` gives the extended keys and values.
[<Sealed>]
type Cache<'Heads, 'Key, 'Value> internal (append: Node -> Node -> Node * Node) =
    member _.Append
        (k: Tensor<'B * Seq, 'Heads * 'Key>, v: Tensor<'B * Seq, 'Heads * 'Value>)
        : Tensor<'B * Context, 'Heads * 'Key> * Tensor<'B * Context, 'Heads * 'Value> =
        let keys, values = append k.Node v.Node
        Tensor keys, Tensor values

[<AutoOpen>]
module CacheFunctions =
    /// A cache of keys and values of two sizes, for as many positions as the call asks for, at most `context`.
    let cacheOf
        name
        (context: Axis<Context>)
        (heads: Axis<'Heads>)
        (key: Axis<'Key>)
        (value: Axis<'Value>)
        : Layer<Cache<'Heads, 'Key, 'Value>> =
        Layer(fun scope ->
            checkName name scope
            let limit = int64 context.Size

            match scope.Sizes.Context with
            | Fixed n when n > limit ->
                let remedy = $"use a context of at most {limit}"

                raise (
                    ModelError(
                        $"a cache of {n} positions goes beyond the model's context of {limit}",
                        scope.PathOf name,
                        remedy
                    )
                )
            | _ -> ()

            match scope.Sizes.Sequence, scope.Sizes.Context with
            | Fixed sequence, Fixed n when sequence > n ->
                let remedy = $"use a sequence of at most {n}, or a longer cache"

                raise (
                    ModelError(
                        $"a sequence of {sequence} positions goes beyond the cache of {n}",
                        scope.PathOf name,
                        remedy
                    )
                )
            | _ -> ()

            let batch = { Name = "Batch"; Size = scope.Sizes.Batch }
            let context = { Name = "Context"; Size = scope.Sizes.Context }
            let dims feature = batch :: context :: heads.Dims @ feature
            let keys, tellKeys = scope.State(name + "_k", dims key.Dims)
            let values, tellValues = scope.State(name + "_v", dims value.Dims)

            let append state tell (value: Node) =
                let updated = Node.make (Op.Append("Context", "Seq")) [ state; value; pastOf [ batch ] ]
                tell updated
                updated

            Cache(fun k v -> append keys tellKeys k, append values tellValues v))

    /// A cache of keys and values of one size.
    let cache name context heads (dim: Axis<'Dim>) = cacheOf name context heads dim dim
