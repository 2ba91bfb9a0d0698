/// The mean loss by chunks of tokens: what a head makes of every token over the whole vocabulary never stands in memory
/// at once (Hsu et al. 2024, Liger Kernel, section 3.2).
///
/// Takes the loss of each token; gives the mean, and the cotangents of what the head reads. One loop goes over the
/// chunks: an iteration computes the head forward and, since the mean's slope is known before, backward at once. What
/// fits at once, and a head that mixes tokens, is left whole.
module Legato.Compiler.ChunkedLoss

open System.Collections.Generic
open Legato.Dsl
open Legato.Runtime.Plans

/// A mean loss, and the cotangents that its gradients start from.
type Mean = { Loss: Node; Seeds: (Node * Node) list }

/// The nodes over tokens and vocabulary, those that follow from them, and what they read.
type private Head = {
    Nodes: Node list
    /// Read of each token.
    PerToken: Node list
    /// Read by all tokens: weights.
    Shared: Node list
}

let private elements (dims: Dim list) =
    (1L, dims)
    ||> List.fold (fun n d ->
        match d.Size with
        | Fixed size -> n * size
        | Dynamic name -> invalidOp $"{name} is no size of a mean loss")

let private isOf (tokens: Dim list) (d: Dim) = tokens |> List.exists (fun t -> t.Name = d.Name)
let private isOver tokens (node: Node) = node.Dims |> List.exists (isOf tokens)

let private isConstant (node: Node) =
    match node.Op with
    | Op.Const _
    | Op.ConstVector _
    | Op.Iota _ -> true
    | _ -> false

let private headOf vocabulary tokens (losses: Node) : Head =
    let found = HashSet<int>()
    let isWide node = Node.hasAxis vocabulary node && isOver tokens node
    let order = Node.topological [ losses ]

    for node in order do
        if isWide node || node.Inputs |> List.exists (fun i -> found.Contains i.Id) then
            found.Add node.Id |> ignore

    let nodes = order |> List.filter (fun n -> found.Contains n.Id)

    let read =
        nodes
        |> List.collect (fun n -> n.Inputs)
        |> List.distinct
        |> List.filter (fun n -> not (found.Contains n.Id || isConstant n))

    let perToken, shared = read |> List.partition (isOver tokens)
    { Nodes = nodes; PerToken = perToken; Shared = shared }

/// Whether each token's loss is computed without the others, and without its position.
let private isApart tokens (head: Head) =
    let spares axes = not (tokens |> List.exists (fun (t: Dim) -> List.contains t.Name axes))

    head.Nodes
    |> List.forall (fun node ->
        let keepsTokens =
            match node.Op with
            | Op.Map _
            | Op.Broadcast _ -> true
            | Op.Reduce(_, axes)
            | Op.Contract axes -> spares axes
            | Op.Rename names -> spares (List.map fst names)
            | _ -> false

        keepsTokens && node.Inputs |> List.forall (fun i -> not (isConstant i && isOver tokens i)))

/// In how many chunks the tokens are taken: as few as the bound on a chunk's elements admits.
let private chunksOf count width most =
    let smaller = [
        for n in 1L .. int64 (sqrt (float count)) do
            if count % n = 0L then
                n
    ]

    let divisors = smaller @ (smaller |> List.rev |> List.map (fun n -> count / n))

    divisors |> List.tryFind (fun chunks -> count / chunks * width <= most) |> Option.defaultValue count

let private chunk (chunks: int64) = { Name = "Chunk"; Size = Fixed chunks }
let private all = "Token"

/// A chunk's tokens are rows of a batch.
let private rowsOf (tokens: Dim list) chunks = { tokens.Head with Size = Fixed(elements tokens / chunks) }

/// The tokens' axes as chunks of rows.
let private divided (tokens: Dim list) chunks (node: Node) =
    let ordered = Node.broadcast (tokens @ (node.Dims |> List.filter (isOf tokens >> not))) node

    let merged =
        (Node.rename [ tokens.Head.Name, all ] ordered, tokens.Tail)
        ||> List.fold (fun x t -> Node.merge all t.Name all x)

    Node.split all (chunk chunks) (rowsOf tokens chunks) merged

let private undivided (tokens: Dim list) (like: Node) (node: Node) =
    let merged = Node.merge "Chunk" tokens.Head.Name all node

    let rec split (rest: Dim list) x =
        match rest with
        | [ last ] -> Node.rename [ all, last.Name ] x
        | first :: others -> Node.split all first { Name = all; Size = Fixed(elements others) } x |> split others
        | [] -> x

    split tokens merged |> Node.broadcast like.Dims

/// The losses of one chunk, over placeholders for what the head reads of each token.
let private lossesOf (tokens: Dim list) rows (placeholders: (Node * Node) list) (losses: Node) =
    let table = dict [ for node: Node, placeholder in placeholders -> node.Id, placeholder ]
    let narrowed (dims: Dim list) = rows :: (dims |> List.filter (isOf tokens >> not))

    [ losses ]
    |> Node.rewrite (fun node inputs ->
        match table.TryGetValue node.Id, node.Op with
        | (true, placeholder), _ -> Some placeholder
        | _, Op.Broadcast dims when List.exists (isOf tokens) dims -> Some(Node.broadcast (narrowed dims) inputs.Head)
        | _ -> None)
    |> List.exactlyOne

let private loop (tokens: Dim list) chunks (head: Head) share scale (withGradients: bool) (losses: Node) : Mean =
    let rows = rowsOf tokens chunks

    let slices =
        head.PerToken
        |> List.map (fun node ->
            let dims = rows :: (node.Dims |> List.filter (isOf tokens >> not))
            node, Node.placeholder "rows" dims node.Type)

    let sum = lossesOf tokens rows slices losses |> fun l -> Node.reduce Sum l.Axes l
    let differentiable = slices |> List.filter (fun (node, _) -> withGradients && node.Type = Float)
    let weights = head.Shared |> List.filter (fun node -> withGradients && node.Type = Float)
    let wanted = List.map snd differentiable @ weights
    let seed = sum, Node.mul share scale
    let gradients = Differentiate.gradientsFrom Rematerialisation.None [ seed ] [] sum wanted

    // Simplified, so that no constant becomes a tensor that the loop captures.
    let values = Simplify.graph (sum :: gradients.Of)
    let perRow, perWeight = List.splitAt differentiable.Length values.Tail
    let sums = weights |> List.map (fun w -> Node.placeholder "sum" w.Dims Float)

    let scan =
        Node.scan
            (chunk chunks)
            false
            (List.map2 (fun s w -> s, Node.zerosLike w) sums weights)
            [ for node, placeholder in slices -> placeholder, divided tokens chunks node ]
            (List.map2 Node.add sums perWeight)
            (values.Head :: perRow)

    let output i = Node.item i scan
    let stacked = weights.Length

    {
        Loss = output stacked |> Node.reduce Sum [ (chunk chunks).Name ] |> Node.mul share
        Seeds =
            (weights |> List.mapi (fun i w -> w, output i))
            @ (differentiable
               |> List.mapi (fun i (node, _) -> node, output (stacked + 1 + i) |> undivided tokens node))
    }

/// The sum of the tokens' losses times their share, no more than so many elements over the vocabulary at once. The
/// cotangents, where they are wanted, are those of the mean times the scale; share and scale follow from no parameter.
let mean (vocabulary: string) (most: int64) (share: Node) (scale: Node) (withGradients: bool) (losses: Node) : Mean =
    let tokens = losses.Dims
    let head = headOf vocabulary tokens losses

    let width =
        head.Nodes
        |> List.fold (fun widest n -> max widest (n.Dims |> List.filter (isOf tokens >> not) |> elements)) 1L

    match chunksOf (elements tokens) width most with
    | chunks when chunks > 1L && isApart tokens head -> loop tokens chunks head share scale withGradients losses
    | _ ->
        let loss = Node.reduce Sum losses.Axes losses |> Node.mul share
        { Loss = loss; Seeds = [ loss, scale ] }
