namespace Legato.Dsl

/// Consecutive layers that are one loop: a cycle of kinds, `Repeats` times, from the layer `First` on.
type Run<'Kind> = { First: int; Repeats: int; Cycle: 'Kind list }

[<RequireQualifiedAccess>]
module Runs =
    let private longestCycle = 8

    // How often the first `length` kinds come again at once.
    let private repeats length (kinds: 'Kind[]) =
        let rec periodic i = if i < kinds.Length && kinds[i] = kinds[i - length] then periodic (i + 1) else i
        periodic length / length

    let private longest (kinds: 'Kind[]) =
        let covered length =
            let times = repeats length kinds
            if times > 1 then times * length else 1

        let length =
            [ 1 .. min longestCycle kinds.Length ] |> List.maxBy (fun length -> covered length, -length)

        length, repeats length kinds

    /// The fewest loops that a greedy search finds: at each layer the cycle that goes on for longest, the shorter of equals.
    let ofKinds (kinds: 'Kind list) : Run<'Kind> list =
        let all = Array.ofList kinds

        let rec from first =
            if first = all.Length then
                []
            else
                let length, times = longest all[first..]

                { First = first; Repeats = times; Cycle = List.ofArray all[first .. first + length - 1] }
                :: from (first + times * length)

        from 0

    /// Whether all layers are alike.
    let isOne (runs: Run<'Kind> list) =
        match runs with
        | [ { Cycle = [ _ ] } ] -> true
        | _ -> false

    /// What comes before the path of the parameters of a kind at a place of a run's cycle, unless all layers are alike.
    let name run place = $"run{run}_{place}"

    /// Whether a part of a path is such a name.
    let isName (part: string) = System.Text.RegularExpressions.Regex.IsMatch(part, @"\Arun\d+_\d+\z")

    /// The layers that the kind at a place of a run's cycle stands for.
    let layers (run: Run<'Kind>) place = List.init run.Repeats (fun i -> run.First + i * run.Cycle.Length + place)

[<AutoOpen>]
module StackOf =
    let private placed run number place (inner: Layer<'T>) =
        Layer(fun scope -> inner.Elaborate((scope.Within(Runs.name number place)).Numbered(Runs.layers run place)))

    /// Layers in a row, each the block of its kind. What repeats, a kind or a cycle of kinds, is one loop in the plan
    /// (`Runs.ofKinds`), its parameters with an axis in front.
    let stackOf
        (kinds: 'Kind list)
        (block: 'Kind -> Layer<Tensor<'Pos, 'Feat> -> Tensor<'Pos, 'Feat>>)
        : Layer<Tensor<'Pos, 'Feat> -> Tensor<'Pos, 'Feat>> =
        let runs = Runs.ofKinds kinds

        let loop number run =
            run.Cycle
            |> List.mapi (fun place kind ->
                if Runs.isOne runs then block kind else placed run number place (block kind))
            |> List.reduce (>=>)
            |> stack (axis<Layers> run.Repeats)

        runs |> List.mapi loop |> List.reduce (>=>)
