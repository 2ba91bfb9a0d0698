/// Where values lie in memory: buffers, views into them, and how axes map to strides.
module Legato.Compiler.Place

open System.Collections.Generic
open Legato.Dsl
open Legato.Runtime.Plans

let extent (size: Size) =
    match size with
    | Fixed n -> Extent.Of n
    | Dynamic name -> Extent.Dimension name

let one = Extent.One

/// Row-major strides of axes in their order, in elements.
let rowMajor (dims: Dim list) : (string * Extent) list =
    List.foldBack (fun (d: Dim) (strides, step) -> (d.Name, step) :: strides, step * extent d.Size) dims ([], one)
    |> fst

let elements (dims: Dim list) = dims |> List.fold (fun n d -> n * extent d.Size) one

/// A value in memory.
type Place = {
    View: BufferView
    /// Elements from one index of an axis to the next.
    Strides: (string * Extent) list
    Type: ScalarType
} with

    member this.Stride axis = this.Strides |> List.tryFind (fun (a, _) -> a = axis) |> Option.map snd

/// Rows of at least so many elements start at multiples of this many, whatever their length: logits over an odd
/// vocabulary would else be read and multiplied an element at a time.
let private longRow, private rowAlignment = 1024L, 64L

/// The axes that a token's values take in memory.
let private padded (dims: Dim list) =
    match List.rev dims with
    | { Size = Fixed n } as last :: before when n >= longRow && before |> List.exists (fun d -> d.Name = "Batch") ->
        let rounded = (n + rowAlignment - 1L) / rowAlignment * rowAlignment
        List.rev ({ last with Size = Fixed rounded } :: before)
    | _ -> dims

/// A buffer before it has an address.
type Draft = { Id: int; Name: string; Class: BufferClass; Type: ScalarType; Dims: Dim list }

/// The buffers of a plan under construction.
type Buffers() =
    let drafts = List<Draft>()
    let nameOf (id: int) = "t" + string id
    member _.All = List.ofSeq drafts

    member _.Add(name, kind, elementType, dims: Dim list) : Place =
        drafts.Add { Id = drafts.Count; Name = name; Class = kind; Type = elementType; Dims = dims }

        { View = BufferView.Whole(drafts.Count - 1); Strides = rowMajor dims; Type = elementType }

    /// A value that has no name: it gets its place in the plan, so that the same plan is the same text.
    member buffers.AddUnnamed(elementType, dims) =
        buffers.Add(nameOf drafts.Count, BufferClass.Activation, elementType, padded dims)

    /// Whether a buffer has no name yet.
    member _.IsUnnamed(place: Place) = drafts[place.View.Buffer].Name = nameOf place.View.Buffer

    /// Gives a buffer another class, once it turns out what it holds.
    member _.Reclass(place: Place, name, kind) =
        let draft = drafts[place.View.Buffer]
        drafts[place.View.Buffer] <- { draft with Name = name; Class = kind }

    /// Gives a buffer a name, once it turns out what fills it.
    member buffers.Rename(place: Place, name) = buffers.Reclass(place, name, drafts[place.View.Buffer].Class)

/// Whether a value lies in memory row by row in this order of axes.
let isPacked (place: Place) (dims: Dim list) =
    List.zip dims (rowMajor dims)
    |> List.forall (fun (d, (axis, stride)) ->
        d.Size = Fixed 1L
        || (match place.Stride axis with
            | Some s -> s.Equals stride
            | None -> false))

/// One slice of a stacked value inside a loop.
let sliceOf (dim: Dim) variable (whole: Place) : Place =
    let stride = whole.Stride dim.Name |> Option.get

    {
        whole with
            View =
                BufferView(
                    whole.View.Buffer,
                    whole.View.Offset,
                    [| yield! whole.View.Loops; LoopStride(variable, stride) |]
                )
            Strides = whole.Strides |> List.filter (fun (a, _) -> a <> dim.Name)
    }

/// The slice at one index of an axis.
let sliceAt (dim: Dim) (index: int64) (whole: Place) : Place =
    let stride = whole.Stride dim.Name |> Option.get

    {
        whole with
            View = BufferView(whole.View.Buffer, whole.View.Offset + Extent.Of index * stride, whole.View.Loops)
            Strides = whole.Strides |> List.filter (fun (a, _) -> a <> dim.Name)
    }

/// What a view node shows of its input's place (Units.viewBase says which nodes are views).
let rec viewOf (placeOf: Node -> Place) (node: Node) : Place =
    if (Units.viewBase node).Id = node.Id then
        placeOf node
    else
        let x = node.Inputs.Head
        let inner = viewOf placeOf x

        match node.Op with
        | Op.Rename names ->
            let rename a = names |> List.tryFind (fun (from, _) -> from = a) |> Option.map snd |> Option.defaultValue a
            { inner with Strides = inner.Strides |> List.map (fun (a, s) -> rename a, s) }
        | Op.Split(axis, outerDim, innerDim) ->
            let stride = inner.Stride axis |> Option.get

            {
                inner with
                    Strides =
                        inner.Strides
                        |> List.collect (fun (a, s) ->
                            if a = axis then
                                [ outerDim.Name, stride * extent innerDim.Size; innerDim.Name, stride ]
                            else
                                [ a, s ])
            }
        | Op.Merge(outer, innerAxis, name) ->
            let step = inner.Stride innerAxis |> Option.get

            let isOne = (Node.dim outer x).Size = Fixed 1L

            if not isOne && inner.Stride outer <> Some(step * extent (Node.dim innerAxis x).Size) then
                invalidOp $"{outer} and {innerAxis} don't lie as one axis in memory"

            {
                inner with
                    Strides =
                        inner.Strides
                        |> List.choose (fun (a, s) ->
                            if a = outer then None
                            elif a = innerAxis then Some(name, s)
                            else Some(a, s))
            }
        | Op.Slice(axis, start, _) ->
            let stride = inner.Stride axis |> Option.get

            {
                inner with
                    View = BufferView(inner.View.Buffer, inner.View.Offset + stride * Extent.Of start, inner.View.Loops)
            }
        | _ -> inner
