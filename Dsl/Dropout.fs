namespace Legato.Dsl

[<AutoOpen>]
module Dropout =
    /// The inputs of a training call that tell the step's seed, and which of the step's rows the call's first is.
    let seed, firstRow = "seed", "first_row"

    // FNV-1a, as a key that is no negative number.
    let private hash (path: string) =
        (2166136261u, path)
        ||> Seq.fold (fun hash letter -> (hash ^^^ uint32 letter) * 16777619u)
        |> fun hash -> int64 (hash >>> 1)

    // Keys of neighbouring layers have little in common.
    let private between = 506_820_017L

    /// Drops a share of a tensor's numbers and makes up for it with the others (Srivastava et al. 2014, section 10). The share
    /// is the training call's; other calls drop none. What is dropped follows from the seed, the step's row, the layer and
    /// the place in the tensor, however the step is computed.
    let dropout name : Layer<Tensor<'Pos, 'Feat> -> Tensor<'Pos, 'Feat>> =
        Layer(fun scope ->
            let share = scope.Sizes.Dropout
            let integer name = Node.input name [] Integer

            let keyed key layer = Node.map2 (fun key layer -> key + Int between * layer) key layer

            let key =
                lazy
                    (let own = Node.map1 (fun seed -> seed + Int(hash (scope.PathOf name))) (integer seed)
                     List.fold keyed own scope.Layers)

            let drop (x: Node) =
                let coordinate (dim: Dim) =
                    let place = Node.iota dim
                    if dim.Name = "Batch" then Node.add (integer firstRow) place else place

                let counter =
                    (Node.map (Int 0L) [], x.Dims)
                    ||> List.fold (fun counter dim ->
                        let size = Int(Node.size dim.Name x)
                        Node.map2 (fun counter place -> counter * size + place) counter (coordinate dim))

                let kept = Num(1.0 / (1.0 - share)) * Arg 0
                let isDropped = Bin(Less, Bin(UniformAt, Arg 1, Arg 2), Num share)
                Node.map (If(isDropped, Num 0.0, kept)) [ x; key.Value; counter ]

            if share = 0.0 then
                id
            else
                (fun (x: Tensor<'Pos, 'Feat>) -> Tensor(drop x.Node)))
