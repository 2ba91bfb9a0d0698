namespace Legato.Dsl

open System

/// A piece of a model: parameters under a path, and what they compute.
[<Sealed>]
type Layer<'T> internal (elaborate: Scope -> 'T) =
    member internal _.Elaborate scope = elaborate scope

[<RequireQualifiedAccess>]
module Layer =
    /// A layer without parameters.
    let value x = Layer(fun _ -> x)

    /// A layer with the same parameters that computes something else of them.
    let map f (inner: Layer<'A>) : Layer<'B> = Layer(fun scope -> f (inner.Elaborate scope))

/// The builder behind `layer "name" { let! … and! … return … }`.
[<Sealed>]
type LayerBuilder internal (name: string) =
    member _.MergeSources(a: Layer<'A>, b: Layer<'B>) : Layer<'A * 'B> =
        Layer(fun scope -> let x = a.Elaborate scope in x, b.Elaborate scope)

    member _.BindReturn(a: Layer<'A>, f: 'A -> 'B) : Layer<'B> = Layer(fun scope -> f (a.Elaborate scope))

    member _.Bind(a: Layer<'A>, f: 'A -> Layer<'B>) : Layer<'B> =
        Layer(fun scope -> (f (a.Elaborate scope)).Elaborate scope)

    member _.Return(x: 'A) : Layer<'A> = Layer(fun _ -> x)

    // Chosen by the compiler where the last line has no return; never callable.
    [<CompilerMessage("A layer ends in 'return'.", 10001, IsError = true)>]
    member _.Zero() : Layer<unit> = Layer ignore

    member _.Run(a: Layer<'A>) : Layer<'A> = Layer(fun scope -> a.Elaborate(scope.Within name))

[<AutoOpen>]
module LayerFunctions =
    /// Names a group of parameters: `layer "mlp" { let! up = weight "up" c.Embed c.Mlp … }`.
    let layer name = LayerBuilder name

    let private pathIsPlain (name: string) =
        name <> "" && name |> Seq.forall (fun c -> Char.IsAsciiLetterOrDigit c || c = '_')

    let internal checkName name (scope: Scope) =
        if not (pathIsPlain name) then
            raise (ModelError($"'{name}' can't name a parameter", scope.PathOf name, "use letters, digits and _"))

    /// A matrix with its own initialiser.
    let weightOf (initializer: Initializer) name (input: Axis<'In>) (output: Axis<'Out>) : Layer<Weight<'In, 'Out>> =
        Layer(fun scope ->
            checkName name scope
            let outNames = output.Dims |> List.map (fun d -> d.Name)
            // A matrix from an axis to itself needs two names for it.
            let primed (d: Dim) = if List.contains d.Name outNames then { d with Name = d.Name + "'" } else d
            let inDims = List.map primed input.Dims

            let renamed =
                List.zip input.Dims inDims
                |> List.choose (fun (a, b) -> if a.Name = b.Name then None else Some(a.Name, b.Name))

            let node = scope.Declare(name, [ output.Dims; inDims ], initializer, true)
            Weight(node, inDims |> List.map (fun d -> d.Name), renamed))

    /// A matrix, at first normal with deviation 0.02 (Radford et al. 2019).
    let weight name (input: Axis<'In>) (output: Axis<'Out>) : Layer<Weight<'In, 'Out>> =
        weightOf (Normal 0.02) name input output

    /// A vector with its own initialiser.
    let vectorOf (initializer: Initializer) name (feature: Axis<'Feat>) : Layer<Vector<'Feat>> =
        Layer(fun scope ->
            checkName name scope
            Vector(scope.Declare(name, [ feature.Dims ], initializer, false)))

    /// A vector to multiply with, at first ones.
    let gain name feature = vectorOf Ones name feature

    /// A vector to add, at first zeros.
    let bias name feature = vectorOf Zeros name feature

    let embeddingOf
        (initializer: Initializer)
        name
        (index: Axis<'Index>)
        (feature: Axis<'Feat>)
        : Layer<Embedding<'Index, 'Feat>> =
        Layer(fun scope ->
            checkName name scope
            Embedding(scope.Declare(name, [ index.Dims; feature.Dims ], initializer, true), index.Dims.Head.Name))

    /// A table of rows, at first normal with deviation 0.02.
    let embedding name (index: Axis<'Index>) (feature: Axis<'Feat>) = embeddingOf (Normal 0.02) name index feature

    /// Left to right composition of layers.
    let (>=>) (f: Layer<'A -> 'B>) (g: Layer<'B -> 'C>) : Layer<'A -> 'C> =
        Layer(fun scope ->
            let first = f.Elaborate scope
            first >> g.Elaborate scope)
