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

let private stepTable (report: PlanReport) =
    let share seconds = if report.Seconds > 0.0 then Units.percent (seconds / report.Seconds) else ""
    let cost (flops: float) (bytes: float) seconds = [ Units.figure (flops / 1e6); Units.figure (bytes / 1e6); Units.figure (seconds * 1e3); share seconds ]

    let row (step: StepRow) =
        let times = if step.Kind = "loop" then $" ×{step.Times}" else ""
        let name = String(' ', 2 * step.Depth) + step.Name + times
        [ name; step.Kind; step.Shape ] @ cost step.Flops step.Bytes step.Seconds

    [ [ "step"; "kind"; "shape"; "MFLOP"; "MB"; "ms"; "share" ] ]
    @ List.map row report.Rows
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

    [ [ "memory at its peak"; "" ] ]
    @ List.map row (memory.Persistent @ memory.Arena)
    @ gaps
    @ [ [ "total"; Units.bytes memory.Peak; $"at {memory.FullestAt}" ] ]
    |> Units.table [ 0; 2 ]

let private shape (plan: Plan) (buffer: PlanBuffer) =
    buffer.Axes |> Seq.map (fun axis -> $"{axis.Name} {plan.Maximum axis.Size}") |> String.concat " × "

let private largestTable (report: PlanReport) =
    [ [ "largest buffers"; ""; ""; "" ] ]
    @ [
        for buffer, bytes in List.truncate largestShown report.Largest ->
            [ buffer.Name; classNames[buffer.Class]; word buffer.Type; Units.bytes bytes; shape report.Plan buffer ]
    ]
    |> Units.table [ 0; 1; 2; 4 ]

let private summary origin (report: PlanReport) =
    let rate = Units.rate (float report.Tokens / report.Seconds)
    let count = Units.count report.Tokens
    $"predicted: {Units.seconds report.Seconds} for {count} tokens, {rate.TrimEnd()} tokens/s\nspeed of the machine: {origin}\n"

/// `origin` tells where the predicted times' speed of the machine comes from.
let page (origin: string) (report: PlanReport) =
    [ header report; stepTable report; memoryTable report.Memory; largestTable report; summary origin report ]
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
        Seconds = report.Seconds
        TokensPerSecond = float report.Tokens / report.Seconds
        SpeedOfTheMachine = origin
        Memory = {|
            Peak = memory.Peak
            Persistent = classes memory.Persistent
            Arena = classes memory.Arena
            Gaps = memory.Gaps
            FullestAt = memory.FullestAt
        |}
        Steps = report.Rows
        LargestBuffers =
            [
                for buffer, bytes in List.truncate largestShown report.Largest ->
                    {| Name = buffer.Name; Class = classNames[buffer.Class]; Type = word buffer.Type; Bytes = bytes |}
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
