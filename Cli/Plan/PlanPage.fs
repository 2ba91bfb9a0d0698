/// A plan's report as a page for people, and as a document for programs.
module Legato.Cli.PlanPage

open System
open Legato.Compiler
open Legato.Dsl
open Legato.Runtime.Plans

let private largestShown = 8
let private word (value: Enum) = value.ToString().ToLowerInvariant()

/// Sizes: the dimensions' bounds, or what the tokens were declared as.
let private sizes (plan: Plan) =
    let tokens = plan.Buffer(BufferClass.Input, "tokens")

    tokens.Axes
    |> Seq.map (fun axis ->
        let bound = if axis.Size.IsConstant then "" else "up to "
        $"{axis.Name.ToLowerInvariant()} {bound}{plan.Maximum axis.Size}")
    |> String.concat " × "

let private header (report: PlanReport) =
    let plan = report.Plan
    $"{plan.Model}: {word plan.Purpose}, {sizes plan}, {plan.Precision}\n{Units.count report.Parameters} parameters\n"

/// A column of figures in one unit and with as many digits after the point for all: those that its sum has three of.
type private Column = { Heading: string; Unit: float; Digits: int }

let private columnOf (units: (float * float * string) list) (sum: float) =
    let _, unit, heading =
        units |> List.tryFind (fun (least, _, _) -> sum >= least) |> Option.defaultValue (List.last units)

    let whole = sum / unit |> max 1.0 |> log10 |> floor |> int
    { Heading = heading; Unit = unit; Digits = max 0 (2 - whole) + 1 }

/// What rounds to nothing isn't told.
let private cell column value =
    let shown = Units.fixed' column.Digits (value / column.Unit)
    if shown = Units.fixed' column.Digits 0.0 then "" else shown

// From which sum on a unit is told, and the unit.
let private flops = [ 1e12, 1e12, "TFLOP"; 1e9, 1e9, "GFLOP"; 1e6, 1e6, "MFLOP"; 1e3, 1e3, "kFLOP" ]
let private bytes = [ 1e12, 1e12, "TB"; 1e9, 1e9, "GB"; 1e6, 1e6, "MB"; 1e3, 1e3, "kB" ]
let private times = [ 100.0, 1.0, "s"; 1e-3, 1e-3, "ms"; 1e-6, 1e-6, "µs" ]

/// The columns that tell work, bytes, time and its share.
let private costColumns (report: PlanReport) =
    let columns = [ columnOf flops report.Flops; columnOf bytes report.Bytes; columnOf times report.Seconds ]
    let share = { Heading = "%"; Unit = report.Seconds / 100.0; Digits = 1 }
    let headings = [ for column in columns @ [ share ] -> column.Heading ]
    headings, fun flops bytes seconds -> List.map2 cell (columns @ [ share ]) [ flops; bytes; seconds; seconds ]

/// A path from inside the loop over the axis that it goes through; what stands before the path stays.
let private shortened loops (name: string) =
    let prefix = if name.StartsWith StepNames.gradient then StepNames.gradient else ""

    let inside (loop: string) =
        match name.IndexOf $".{loop}." with
        | -1 -> None
        | at -> Some(prefix + name[at + loop.Length + 2 ..])

    loops |> List.tryPick inside |> Option.defaultValue name

/// What a row is told together with: itself, or all updates of parameters.
let private headingOf (row: StepRow) =
    if row.Name.StartsWith StepNames.update then
        StepNames.update.TrimEnd()
    else
        row.Name

/// Steps one after another that are called the same, as one line.
let private merged (rows: StepRow list) =
    let joins (a: StepRow) (b: StepRow) =
        a.Kind <> "loop" && (a.Depth, headingOf a, a.Kind) = (b.Depth, headingOf b, b.Kind)

    let add (a: StepRow) (b: StepRow) = {
        a with
            Name = (if a.Name = b.Name then a.Name else headingOf a)
            Shape = (if a.Shape = b.Shape then a.Shape else "")
            Flops = a.Flops + b.Flops
            Bytes = a.Bytes + b.Bytes
            Seconds = a.Seconds + b.Seconds
    }

    let extend groups row =
        match groups with
        | (same, count) :: earlier when joins same row -> (add same row, count + 1) :: earlier
        | _ -> (row, 1) :: groups

    rows |> List.fold extend [] |> List.rev

let private stepTable (report: PlanReport) =
    let headings, cost = costColumns report

    let loops =
        [
            for row in report.Rows do
                if row.Kind = "loop" then
                    row.Name
        ]
        |> List.distinct

    let row (step: StepRow, count) =
        let times =
            if step.Kind = "loop" then $" ×{step.Times}"
            elif count > 1 then $" ({count})"
            else ""

        let name = if step.Depth > 0 then shortened loops step.Name else step.Name

        [ String(' ', 2 * step.Depth) + name + times; step.Kind; step.Shape ]
        @ cost step.Flops step.Bytes step.Seconds

    ([ "step"; "kind"; "shape" ] @ headings) :: List.map row (merged report.Rows)
    |> Units.table [ 0; 1; 2 ]

/// Where work and time go, by kind of step, the longest first; a loop's are those of its body.
let private kindTable (report: PlanReport) =
    let headings, cost = costColumns report

    let kinds =
        report.Rows
        |> List.filter (fun row -> row.Kind <> "loop")
        |> List.groupBy (fun row -> row.Kind.TrimEnd '+')
        |> List.map (fun (kind, rows) ->
            let sum (choose: StepRow -> float) = List.sumBy choose rows
            let steps = rows |> List.sumBy _.Times
            sum _.Seconds, [ kind; Units.count steps ] @ cost (sum _.Flops) (sum _.Bytes) (sum _.Seconds))
        |> List.sortByDescending fst
        |> List.map snd

    let launches =
        if report.Launches > 0 then
            [ [ "launches"; Units.count (int64 report.Launches) ] @ cost 0.0 0.0 report.LaunchSeconds ]
        else
            []

    [ [ "by kind"; "steps" ] @ headings ]
    @ kinds
    @ launches
    @ [ [ "total"; "" ] @ cost report.Flops report.Bytes report.Seconds ]
    |> Units.table [ 0 ]

let private classNames =
    dict [
        BufferClass.Parameter, "parameters"
        BufferClass.Optimizer, "optimizer"
        BufferClass.Cache, "cache"
        BufferClass.Constant, "constants"
        BufferClass.Input, "inputs"
        BufferClass.Output, "outputs"
        BufferClass.Gradient, "gradients"
        BufferClass.Activation, "activations"
        BufferClass.Workspace, "workspace"
    ]

let private memoryTable (memory: PlanMemory) =
    let row name (bytes: int64) = [ name; Units.bytes bytes; Units.percent (float bytes / float memory.Peak) ]

    let optional name bytes = if bytes > 0L then [ row name bytes ] else []

    [ [ "memory at its peak"; ""; "" ] ]
    @ [ for part in memory.Persistent @ memory.Arena -> row classNames[part.Class] part.Bytes ]
    @ optional "gaps" memory.Gaps
    @ optional "kernels' own" memory.Working
    @ [ [ "total"; Units.bytes memory.Peak; ""; $"at {memory.FullestAt}" ] ]
    |> Units.table [ 0; 3 ]

let private shape (plan: Plan) (buffer: PlanBuffer) =
    buffer.Axes |> Seq.map (fun axis -> $"{axis.Name} {plan.Maximum axis.Size}") |> String.concat " × "

let private largestTable (report: PlanReport) =
    [ [ "largest buffers"; ""; ""; "" ] ]
    @ [
        for buffer, bytes in List.truncate largestShown report.Largest ->
            [
                buffer.Name
                classNames[buffer.Class]
                word buffer.Type
                Units.bytes bytes
                shape report.Plan buffer
            ]
    ]
    |> Units.table [ 0; 1; 2; 4 ]

let private summary origin (report: PlanReport) =
    let rate = Units.rate (float report.Tokens / report.Seconds)
    let count = Units.count report.Tokens
    let noun = if report.Tokens = 1L then "token" else "tokens"
    $"predicted: {Units.seconds report.Seconds} for {count} {noun}, {rate.TrimEnd()} tokens/s\nspeed of the machine: {origin}\n"

/// `origin` tells where the predicted times' speed of the machine comes from.
let page (origin: string) (report: PlanReport) =
    [
        header report
        stepTable report
        kindTable report
        memoryTable report.Memory
        largestTable report
        summary origin report
    ]
    |> String.concat "\n"

/// The same as a program reads it: bytes, operations, seconds.
let document (origin: string) (report: PlanReport) =
    let memory = report.Memory
    let classes parts = dict [ for part in parts -> classNames[part.Class], part.Bytes ]

    {|
        Model = report.Plan.Model
        Purpose = word report.Plan.Purpose
        Precision = report.Plan.Precision
        Dimensions = dict [ for d in report.Plan.Dimensions -> d.Name, d.Maximum ]
        Parameters = report.Parameters
        Tokens = report.Tokens
        Flops = report.Flops
        Bytes = report.Bytes
        Launches = report.Launches
        Seconds = report.Seconds
        TokensPerSecond = float report.Tokens / report.Seconds
        SpeedOfTheMachine = origin
        Memory = {|
            Peak = memory.Peak
            Persistent = classes memory.Persistent
            Arena = classes memory.Arena
            Gaps = memory.Gaps
            FullestAt = memory.FullestAt
            KernelsOwn = memory.Working
        |}
        Steps = report.Rows
        LargestBuffers = [
            for buffer, bytes in List.truncate largestShown report.Largest ->
                {|
                    Name = buffer.Name
                    Class = classNames[buffer.Class]
                    Type = word buffer.Type
                    Bytes = bytes
                |}
        ]
    |}

let private nameOf (target: Node) =
    match target.Op with
    | Op.Param(parameter, _) -> parameter.Path
    | Op.State(name, _) -> name
    | _ -> "update"

/// The graph that a plan was made from; its roots are the outputs and what parameters and states become.
let graph (call: Specialise.Call) =
    call.Outputs @ [ for target, value in call.Updates -> nameOf target, value ] |> Print.graph

/// The plan's kernels as text, a blank line between them.
let kernels (plan: Plan) = PlanReport.kernels plan |> List.map string |> String.concat "\n"
