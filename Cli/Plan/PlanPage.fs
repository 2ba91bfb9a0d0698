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

/// The unit that a column is told in, so that its sum has few digits.
let private unitOf (sum: float) =
    if sum >= 1e9 then 1e9, "G"
    elif sum >= 1e6 then 1e6, "M"
    else 1e3, "k"

/// A parameter's path, from inside the loop over the axis that the path goes through.
let private shortened loops (name: string) =
    let inside (loop: string) =
        match name.IndexOf $".{loop}." with
        | -1 -> None
        | at -> Some name[at + loop.Length + 2 ..]

    loops |> List.tryPick inside |> Option.defaultValue name

/// Steps one after another that are called the same, as one line.
let private merged (rows: StepRow list) =
    let joins (a: StepRow) (b: StepRow) = a.Kind <> "loop" && (a.Depth, a.Name, a.Kind) = (b.Depth, b.Name, b.Kind)

    let add (a: StepRow) (b: StepRow) = {
        a with
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
    let flopUnit, flopPrefix = unitOf report.Flops
    let byteUnit, bytePrefix = unitOf report.Bytes
    let share seconds = if report.Seconds > 0.0 then Units.percent (seconds / report.Seconds) else ""

    let cost flops bytes seconds = [
        Units.figure (flops / flopUnit)
        Units.figure (bytes / byteUnit)
        Units.figure (seconds * 1e3)
        share seconds
    ]

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

    let launches =
        if report.Launches > 0 then
            [ $"launches ×{report.Launches}"; ""; "" ] @ cost 0.0 0.0 report.LaunchSeconds |> List.singleton
        else
            []

    [ [ "step"; "kind"; "shape"; flopPrefix + "FLOP"; bytePrefix + "B"; "ms"; "share" ] ]
    @ List.map row (merged report.Rows)
    @ launches
    @ [ [ "total"; ""; "" ] @ cost report.Flops report.Bytes report.Seconds ]
    |> Units.table [ 0; 1; 2 ]

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
    let row (part: ClassBytes) = [ classNames[part.Class]; Units.bytes part.Bytes ]
    let gaps = if memory.Gaps > 0L then [ [ "gaps"; Units.bytes memory.Gaps ] ] else []

    let working =
        if memory.Working > 0L then
            [ [ "kernels' own"; Units.bytes memory.Working ] ]
        else
            []

    [ [ "memory at its peak"; "" ] ]
    @ List.map row (memory.Persistent @ memory.Arena)
    @ gaps
    @ working
    @ [ [ "total"; Units.bytes memory.Peak; $"at {memory.FullestAt}" ] ]
    |> Units.table [ 0; 2 ]

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
    $"predicted: {Units.seconds report.Seconds} for {count} tokens, {rate.TrimEnd()} tokens/s\nspeed of the machine: {origin}\n"

/// `origin` tells where the predicted times' speed of the machine comes from.
let page (origin: string) (report: PlanReport) =
    [
        header report
        stepTable report
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
