namespace Legato.Dsl

open System

// The axes that most models use. An axis is an empty nominal type; add your own the same way.

type Batch = interface end
/// Positions of the tokens of one call.
type Seq = interface end
/// Positions that attention can see: those of the cache and those of the call.
type Context = interface end
/// Positions of the text that an encoder reads.
type Source = interface end
/// Positions of an encoder's text as a decoder sees them.
type Memory = interface end
type Vocab = interface end
type Embed = interface end
type Heads = interface end
type KvHeads = interface end
type HeadDim = interface end
type Mlp = interface end
type Layers = interface end
type Expert = interface end

/// An axis, or a product of axes, with its sizes. The type carries the name alone.
type Axis<'Name> = internal {
    Sizes: Dim list
} with

    member this.Dims = this.Sizes

    /// The number of elements along the axis.
    member this.Size =
        (1, this.Sizes)
        ||> List.fold (fun n d ->
            match d.Size with
            | Fixed m -> n * int m
            | Dynamic _ -> n)

    override this.ToString() = String.Join(" * ", this.Sizes)

[<AutoOpen>]
module Axes =
    let rec private namesOf (t: Type) =
        if t = typeof<unit> then
            []
        elif t.IsGenericType && t.FullName.StartsWith "System.Tuple" then
            t.GetGenericArguments() |> List.ofArray |> List.collect namesOf
        else
            [ t.Name ]

    /// The names of the axes in a type: `axisNames<Batch * Seq>` is ["Batch"; "Seq"].
    let axisNames<'Axes> = namesOf typeof<'Axes>

    /// An axis of a size: `axis<Embed> 768`.
    let axis<'Name> (size: int) : Axis<'Name> =
        match axisNames<'Name> with
        | [ name ] when size > 0 -> { Sizes = [ { Name = name; Size = Fixed(int64 size) } ] }
        | [ name ] -> raise (ModelError($"the axis {name} has size {size}", name, "give it a positive size"))
        | names ->
            let product = String.Join(" * ", names)

            raise (
                ModelError($"{product} is no single axis", product, "make each axis by itself and join them with ^*")
            )

    /// The product of two axes, outer first.
    let (^*) (a: Axis<'A>) (b: Axis<'B>) : Axis<'A * 'B> = { Sizes = a.Dims @ b.Dims }
