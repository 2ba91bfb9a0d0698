namespace Legato.Dsl

/// A vector of parameters over features: a gain or a bias.
[<Sealed>]
type Vector<'Feat> internal (node: Node) =
    member internal _.Node = node

    static member (+)(x: Tensor<'Pos, 'Feat>, y: Vector<'Feat>) = Tensor<'Pos, 'Feat>(Node.add x.Node y.Node)
    static member (*)(x: Tensor<'Pos, 'Feat>, y: Vector<'Feat>) = Tensor<'Pos, 'Feat>(Node.mul x.Node y.Node)

/// A value over positions and features. Operands align by axis name; layout is the compiler's business.
and [<Sealed>] Tensor<'Pos, 'Feat> internal (node: Node) =
    /// The graph node behind the tensor, its axes erased.
    member _.Node = node

    // The only sum here, so that the compiler names the two features of one that doesn't fit.
    static member (+)(x: Tensor<'Pos, 'Feat>, y: Tensor<'Pos, 'Feat>) = Tensor<'Pos, 'Feat>(Node.add x.Node y.Node)
    static member (-)(x: Tensor<'Pos, 'Feat>, y: Tensor<'Pos, 'Feat>) = Tensor<'Pos, 'Feat>(Node.map2 (-) x.Node y.Node)
    static member (*)(x: Tensor<'Pos, 'Feat>, y: Tensor<'Pos, 'Feat>) = Tensor<'Pos, 'Feat>(Node.mul x.Node y.Node)
    static member (*)(x: Tensor<'Pos, 'Feat>, y: float) = Tensor<'Pos, 'Feat>(Node.map1 (fun a -> a * Num y) x.Node)
    static member (*)(x: float, y: Tensor<'Pos, 'Feat>) = Tensor<'Pos, 'Feat>(Node.map1 (fun a -> a * Num x) y.Node)

/// Token ids over positions.
type Tokens = Tensor<Batch * Seq, unit>

/// A matrix of parameters from the features 'In to the features 'Out.
[<Sealed>]
type Weight<'In, 'Out> internal (node: Node, inputs: string list, renamed: (string * string) list) =
    member internal _.Node = node

    /// The axes of the parameter that are summed over, and how the operand's axes are called there.
    member internal _.Inputs = inputs
    member internal _.Renamed = renamed

/// A table with one row of features for each index.
[<Sealed>]
type Embedding<'Index, 'Feat> internal (node: Node, index: string) =
    member internal _.Node = node

    /// The rows that the tokens name.
    member _.Lookup(tokens: Tensor<'Pos, unit>) : Tensor<'Pos, 'Feat> = Tensor(Node.gather index node tokens.Node)

    /// One row, the same at all positions.
    member _.Row(number: int) : Vector<'Feat> =
        Vector(Node.slice index (int64 number) 1L node |> Node.reduce Sum [ index ])

    /// The product with every row: the tied output head.
    member _.Unembed(x: Tensor<'Pos, 'Feat>) : Tensor<'Pos, 'Index> =
        Tensor(Node.contract (axisNames<'Feat>) x.Node node)

[<AutoOpen>]
module Operators =
    let private lift f (x: Tensor<'Pos, 'Feat>) = Tensor<'Pos, 'Feat>(Node.map1 f x.Node)
    let private logistic x = Num 1.0 / (Num 1.0 + Un(Exp, -x))

    /// Contraction over the whole feature group 'A.
    let ( *@ ) (x: Tensor<'Pos, 'A>) (w: Weight<'A, 'B>) : Tensor<'Pos, 'B> =
        Tensor(Node.contract w.Inputs (Node.rename w.Renamed x.Node) w.Node)

    let sigmoid x = lift logistic x
    /// x · σ(x) (Hendrycks and Gimpel 2016; Ramachandran et al. 2017).
    let silu x = lift (fun a -> a * logistic a) x
    /// elu(x) + 1: x + 1 above zero, eˣ below, and so always positive (Katharopoulos et al. 2020, equation 7).
    let eluPlusOne x = lift (fun a -> If(Bin(Less, Num 0.0, a), a + Num 1.0, Un(Exp, Bin(Min, a, Num 0.0)))) x
    /// The smaller of each value and the limit.
    let atMost (limit: float) x = lift (fun a -> Bin(Min, a, Num limit)) x
    /// The larger of each value and the limit.
    let atLeast (limit: float) x = lift (fun a -> Bin(Max, a, Num limit)) x
    let relu x = lift (fun a -> Bin(Max, a, Num 0.0)) x
    /// x · Φ(x), exact.
    let gelu x = lift (fun a -> Num 0.5 * a * (Num 1.0 + Un(Erf, a * Num(1.0 / sqrt 2.0)))) x

    /// GELU by the tanh approximation (Hendrycks and Gimpel 2016, section 2), as GPT-2 uses it.
    let geluTanh x =
        let k = sqrt (2.0 / System.Math.PI)
        lift (fun a -> Num 0.5 * a * (Num 1.0 + Un(Tanh, Num k * (a + Num 0.044715 * (a * (a * a)))))) x

    let tanh x = lift (fun a -> Un(Tanh, a)) x

    /// cap · tanh(x / cap): Gemma 2's soft cap.
    let softCap (cap: float) x = lift (fun a -> Num cap * Un(Tanh, a * Num(1.0 / cap))) x

    /// A function added to its input.
    let residual (f: Tensor<'Pos, 'Feat> -> Tensor<'Pos, 'Feat>) : Tensor<'Pos, 'Feat> -> Tensor<'Pos, 'Feat> =
        fun x -> x + f x
