namespace Legato.Dsl

[<AutoOpen>]
module Norms =
    let private meanOver axes (count: int) x = Node.map1 (fun a -> a * Num(1.0 / float count)) (Node.reduce Sum axes x)

    // x over the root of its mean square.
    let private overRms epsilon (feature: Axis<'Feat>) x =
        let square = meanOver axisNames<'Feat> feature.Size (Node.map1 (fun a -> a * a) x)
        Node.mul x (Node.map1 (fun s -> Un(Rsqrt, s + Num epsilon)) square)

    let private centred (feature: Axis<'Feat>) x = Node.map2 (-) x (meanOver axisNames<'Feat> feature.Size x)

    let private withGain initial (change: Scalar -> Scalar) name feature (f: Node -> Node) =
        layer name {
            let! g = vectorOf initial "gain" feature

            return
                fun (x: Tensor<'Pos, 'Feat>) ->
                    Tensor<'Pos, 'Feat>(Node.map2 (fun y gain -> y * change gain) (f x.Node) g.Node)
        }

    /// x / √(mean x² + ε) · gain (Zhang and Sennrich 2019).
    let rmsNormOf (epsilon: float) name (feature: Axis<'Feat>) : Layer<Tensor<'Pos, 'Feat> -> Tensor<'Pos, 'Feat>> =
        withGain Ones id name feature (overRms epsilon feature)

    let rmsNorm name feature = rmsNormOf 1e-5 name feature

    /// x / √(mean x² + ε) · (1 + gain), the gain at first zero (Gemma).
    let rmsNormOffset (epsilon: float) name (feature: Axis<'Feat>) : Layer<Tensor<'Pos, 'Feat> -> Tensor<'Pos, 'Feat>> =
        withGain Zeros (fun gain -> gain + Num 1.0) name feature (overRms epsilon feature)

    /// (x − mean) / √(variance + ε) · gain.
    let layerNormUnbiased
        (epsilon: float)
        name
        (feature: Axis<'Feat>)
        : Layer<Tensor<'Pos, 'Feat> -> Tensor<'Pos, 'Feat>> =
        withGain Ones id name feature (centred feature >> overRms epsilon feature)

    /// (x − mean) / √(variance + ε) · gain + bias (Ba et al. 2016).
    let layerNormOf (epsilon: float) name (feature: Axis<'Feat>) : Layer<Tensor<'Pos, 'Feat> -> Tensor<'Pos, 'Feat>> =
        layer name {
            let! g = gain "gain" feature
            and! b = bias "bias" feature
            return fun x -> Tensor<'Pos, 'Feat>(overRms epsilon feature (centred feature x.Node)) * g + b
        }

    let layerNorm name feature = layerNormOf 1e-5 name feature

    /// A function of each head's features by themselves: the heads count as positions.
    let perHead
        (f: Tensor<'Pos * 'Heads, 'Dim> -> Tensor<'Pos * 'Heads, 'Dim>)
        (x: Tensor<'Pos, 'Heads * 'Dim>)
        : Tensor<'Pos, 'Heads * 'Dim> =
        Tensor((f (Tensor x.Node)).Node)

    /// (x − mean) / √(variance + ε) of each head by itself, with a gain for every feature of every head.
    let layerNormPerHead epsilon name (heads: Axis<'Heads>) (dim: Axis<'Dim>) =
        layer name {
            // A checkpoint keeps it as a matrix.
            let! g = Layer(fun scope -> Vector(scope.Declare("gain", [ heads.Dims; dim.Dims ], Ones, false)))
            let normed = centred dim >> overRms epsilon dim
            return fun (x: Tensor<'Pos, 'Heads * 'Dim>) -> Tensor<'Pos, 'Heads * 'Dim>(normed x.Node) * g
        }
