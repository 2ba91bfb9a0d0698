namespace Legato.Dsl

[<AutoOpen>]
module PositionFunctions =
    /// How many positions of each row earlier calls have seen.
    let internal pastOf (batch: Dim list) = Node.input "past" batch Integer

    /// Positions of the call's tokens: those in the cache come before.
    let positions (tokens: Tensor<Batch * Seq, 'Feat>) : Tensor<Batch * Seq, unit> =
        let dims = tokens.Node.Dims
        let batch = dims |> List.filter (fun d -> d.Name = "Batch")
        Tensor(Node.add (pastOf batch) (Node.iota (Node.dim "Seq" tokens.Node)))

    /// Later rows of a table of positions.
    let shifted (by: int) (positions: Tensor<'Pos, unit>) : Tensor<'Pos, unit> =
        Tensor(Node.map1 (fun p -> p + Int(int64 by)) positions.Node)

    /// The features of the first position.
    let firstOf (x: Tensor<Batch * Seq, 'Feat>) : Tensor<Batch, 'Feat> =
        Tensor(Node.slice "Seq" 0L 1L x.Node |> Node.reduce Sum [ "Seq" ])
