namespace Legato.Dsl

/// Parts of the heads' features, and heads of parts.
[<AutoOpen>]
module Features =
    let private one<'Axis> = List.exactlyOne axisNames<'Axis>

    /// The features of each head from `start` on, under the part's name.
    let headPart (start: int) (part: Axis<'Part>) (x: Tensor<'Pos, 'H * 'D>) : Tensor<'Pos, 'H * 'Part> =
        x.Node
        |> Node.slice one<'D> (int64 start) (int64 part.Size)
        |> Node.rename [ one<'D>, one<'Part> ]
        |> Tensor

    /// Two parts of each head's features, the first before the second.
    let joined
        (whole: Axis<'D>)
        (first: Tensor<'Pos, 'H * 'A>)
        (second: Tensor<'Pos, 'H * 'B>)
        : Tensor<'Pos, 'H * 'D> =
        let total = int64 whole.Size

        let place axis before (x: Node) = x |> Node.rename [ axis, one<'D> ] |> Node.pad one<'D> before total

        Tensor(Node.add (place one<'A> 0L first.Node) (place one<'B> (Node.size one<'A> first.Node) second.Node))

    /// The one head's features for each of several heads.
    let forHeads (heads: Axis<'H>) (x: Tensor<'Pos, 'One * 'D>) : Tensor<'Pos, 'H * 'D> =
        let only = Node.reduce Sum [ one<'One> ] x.Node
        let positions, features = only.Dims |> List.partition (fun d -> d.Name <> one<'D>)
        Tensor(Node.broadcast (positions @ heads.Dims @ features) only)
