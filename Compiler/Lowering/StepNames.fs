/// What steps are called: a kernel by the result that it makes, such as a parameter's gradient; else by the parameters that it
/// reads; else by the one result that all it makes goes into; else by the step whose value it reads.
module Legato.Compiler.StepNames

open System.Collections.Generic
open Legato.Dsl
open Legato.Compiler.Flow
open Legato.Compiler.Region

/// Before a parameter's path, in the name of what works for its gradient, and of what updates it.
let gradient, update = "d ", "update "

type StepNames(region: Region, flow: Flow) =
    // Names of parameters and results, and those in words: what is named after another is named after the first.
    let given = Dictionary<int, string>()
    let called = Dictionary<int, string>()

    let find (names: Dictionary<int, string>) unit =
        match names.TryGetValue unit with
        | true, name -> Some name
        | _ -> None

    let purposes = Dictionary<int, string option>()

    /// The results among what a unit makes.
    let own unit =
        match flow.MadeBy unit |> List.choose region.State.ResultLabelOf with
        | [] -> None
        | results -> Some(joined results)

    /// Whether what a unit reads is worked for as what it makes is; products, attention and loops are named for themselves.
    let handsOn unit =
        match fst flow.Units[unit] with
        | Units.Kernel _ -> true
        | Units.Anchor(node, _) -> node.Op.IsScatterAdd

    /// The result that a unit works for alone.
    let rec purpose unit =
        match purposes.TryGetValue unit with
        | true, known -> known
        | _ ->
            let found = work unit
            purposes[unit] <- found
            found

    and work unit =
        match own unit, flow.ReadersOf unit with
        | Some name, _ -> Some name
        | None, [ reader ] when not (flow.MadeBy unit |> List.exists flow.IsResult) && handsOn reader -> purpose reader
        | _ -> None

    let inputName (node: Node) =
        match node.Op with
        | Op.Input(name, _, _) -> Some name
        | _ -> None

    /// What a unit reads: the few steps whose values those are, or an input.
    let source (reads: Node list) =
        let makers = reads |> List.choose flow.Made |> List.distinct

        let named = makers |> List.choose (find given)

        match named, List.choose inputName reads with
        | [], [ input ] when makers.IsEmpty -> Some input
        | [ _ ], _
        | [ _; _ ], _ when named.Length = makers.Length -> Some(joined named)
        | _ -> None

    let keep unit name =
        name |> Option.iter (fun name -> given[unit] <- name)
        name

    let call unit name =
        called[unit] <- name
        name

    /// Of the step that makes a value, where it has a name.
    member _.OfMaker(node: Node) : string option = flow.Made node |> Option.bind (find called)

    /// Of an anchor that reads these nodes; `otherwise` where neither they nor what it works for have a name.
    member _.OfAnchor(unit: int, reads: Node list, otherwise: string) : string =
        region.Label reads
        |> Option.orElseWith (fun () -> purpose unit)
        |> keep unit
        |> Option.defaultValue otherwise
        |> call unit

    /// Of a kernel that reads these nodes; `kind` says what it does.
    member _.OfCluster(unit: int, reads: Node list, kind: string) : string =
        let name =
            own unit
            |> Option.orElseWith (fun () -> region.Label reads)
            |> Option.orElseWith (fun () -> purpose unit)
            |> keep unit

        match name, source reads with
        | Some name, _ -> call unit name
        | None, Some name -> call unit $"{name} {kind}"
        | None, None -> kind
