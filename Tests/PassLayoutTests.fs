/// Every plan's memory holds what its steps expect there, and a plan that is broken on purpose is found out.
module Legato.Tests.PassLayoutTests

open System
open Legato.Compiler
open Legato.Models
open Legato.Runtime.Plans
open NUnit.Framework

let private models = [ "gpt2-tiny"; "llama-tiny" ]

let private modelOf name = (Presets.all |> List.find (fun p -> p.Name = name)).Config |> Families.ofConfig

let private noMistake plan =
    Assert.That(PassPlanWalk.mistake plan |> Option.toObj, Is.Null)
    Assert.That(PassPlanWalk.strayingView plan |> Option.toObj, Is.Null)

let private inferencePurposes = [ Purpose.Evaluate; Purpose.Forward; Purpose.Prefill; Purpose.Decode ]

[<Test>]
let ``plans of inference``
    ([<ValueSource(nameof models)>] name: string)
    ([<ValueSource(nameof inferencePurposes)>] purpose: Purpose)
    =
    noMistake (Compile.plan (modelOf name) (PlanRequest(purpose, 3L, 16L, 32L)))

[<Test>]
let ``plans of training``
    ([<ValueSource(nameof models)>] name: string)
    ([<Values>] keeps: Rematerialisation)
    ([<Values(1L, 3L)>] accumulate: int64)
    ([<Values("fp32", "bf16", "fp16")>] precision: string)
    =
    let request =
        PlanRequest(
            Purpose.Train,
            2L,
            16L,
            16L,
            Precision = precision,
            Accumulate = accumulate,
            Rematerialisation = keeps
        )

    noMistake (Compile.plan (modelOf name) request)

let private decoders = Enum.GetValues<Purpose>() |> Array.filter ((<>) Purpose.Encode)

[<Test>]
let ``plans with experts`` ([<ValueSource(nameof decoders)>] purpose: Purpose) ([<Values>] keeps: Rematerialisation) =
    let model = GraphSamples.model (GraphSamples.decoder GraphSamples.sizes)
    noMistake (Compile.plan model (PlanRequest(purpose, 2L, 4L, 8L, Rematerialisation = keeps)))

let private sample =
    lazy (Compile.plan (modelOf "llama-tiny") (PlanRequest(Purpose.Train, 2L, 16L, 16L)))

let private finds (text: string) plan =
    let found = PassPlanWalk.mistake plan
    Assert.That(found.IsSome, "nothing was found")
    Assert.That(found.Value, Does.Contain text)

let private withBuffers change (plan: Plan) =
    Plan(
        plan.Model,
        plan.Purpose,
        plan.Precision,
        plan.Dimensions,
        [| for b in plan.Buffers -> change b |],
        plan.Parameters,
        plan.Setup,
        plan.Steps,
        plan.ArenaBytes
    )

let private moved offset (b: PlanBuffer) =
    PlanBuffer(b.Id, b.Name, b.Class, b.Type, b.Axes, offset, b.FirstStep, b.LastStep)

[<Test>]
let ``two live buffers at one address are found`` () =
    let plan = sample.Value
    let tokens = plan.Buffer(BufferClass.Input, "tokens")

    let first = plan.Buffers |> Seq.find (fun b -> b.Class = BufferClass.Activation && b.FirstStep = 0)

    plan
    |> withBuffers (fun b -> if b.Id = tokens.Id then moved first.Offset b else b)
    |> finds "tokens"

[<Test>]
let ``every buffer's address matters: one moved to another's that lives then is found`` () =
    let plan = sample.Value

    let caught, all =
        plan.Buffers
        |> Seq.filter (fun b -> b.Class = BufferClass.Activation && b.LastStep > b.FirstStep + 1)
        |> Seq.map (fun b ->
            let inside (other: PlanBuffer) =
                other.Id <> b.Id
                && not other.IsPersistent
                && other.FirstStep > b.FirstStep
                && other.FirstStep < b.LastStep
                && plan.Maximum b.Bytes + other.Offset <= plan.ArenaBytes

            match Seq.tryFind inside plan.Buffers with
            | Some other -> (plan |> withBuffers (fun x -> if x.Id = b.Id then moved other.Offset x else x))
            | None -> plan)
        |> Seq.filter (fun p -> not (obj.ReferenceEquals(p, plan)))
        |> Seq.map (PassPlanWalk.mistake >> Option.isSome)
        |> Seq.fold (fun (caught, all) found -> (if found then caught + 1 else caught), all + 1) (0, 0)

    Assert.That(all, Is.GreaterThan 5)
    Assert.That(caught, Is.EqualTo all)

let private withSteps steps (plan: Plan) =
    Plan(
        plan.Model,
        plan.Purpose,
        plan.Precision,
        plan.Dimensions,
        plan.Buffers,
        plan.Parameters,
        plan.Setup,
        steps,
        plan.ArenaBytes
    )

[<Test>]
let ``each step that is left out is found`` () =
    let plan = sample.Value
    let steps = Array.ofSeq plan.Steps
    let nothing: Step = Step.Loop("nothing", Cost.Zero, "none", 1L, false, [||])
    let isLocal (view: BufferView) = not plan.Buffers[view.Buffer].IsPersistent

    let offset buffer = plan.Buffers[buffer].Offset

    // What adds to a buffer in the arena, or writes over what it reads, leaves nothing missing there, only a wrong number.
    let gives (step: Step) =
        match step with
        | :? Step.Loop -> false
        | _ ->
            let touched = PassPlanWalk.touches step |> List.filter (snd >> isLocal)
            let read = touched |> List.filter (fst >> (=) PassPlanWalk.Reads) |> List.map (fun (_, v) -> v.Buffer)

            let written =
                touched |> List.filter (fst >> (=) PassPlanWalk.Writes) |> List.map (fun (_, v) -> v.Buffer)

            not written.IsEmpty
            && written |> List.forall (fun b -> read |> List.forall (fun r -> offset r <> offset b))

    let givers = [ 0 .. steps.Length - 1 ] |> List.filter (fun i -> gives steps[i])
    Assert.That(givers.Length, Is.GreaterThan 5)

    let unnoticed =
        givers
        |> List.filter (fun i -> (plan |> withSteps (Array.updateAt i nothing steps) |> PassPlanWalk.mistake).IsNone)

    Assert.That(unnoticed |> List.map (fun i -> steps[i].Name), Is.Empty)

[<Test>]
let ``a view behind its buffer is found`` () =
    let plan = sample.Value

    let shrunk (b: PlanBuffer) =
        if b.Class = BufferClass.Parameter then
            PlanBuffer(b.Id, b.Name, b.Class, b.Type, [||], b.Offset, b.FirstStep, b.LastStep)
        else
            b

    Assert.That((plan |> withBuffers shrunk |> PassPlanWalk.strayingView).IsSome)
