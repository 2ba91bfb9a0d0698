/// The compiler's plans; LEGATO_DEBUG=1 shows each before it runs.
module Legato.Cli.ShownPlans

open System
open System.Collections.Concurrent
open System.IO
open Legato.Compiler
open Legato.Dsl
open Legato.Runtime
open Legato.Runtime.Plans

/// What a debug level writes.
let write (level: int) (output: TextWriter) (plans: IPlanSource) : IPlanSource =
    let shown = ConcurrentDictionary<PlanRequest, Plan>()

    let show request =
        let plan, speed = plans.Plan request, SavedLimits.current ()
        output.Write(PlanPage.page speed.Origin (PlanReport.ofPlan speed.Device plan))
        plan

    if level <> 1 then
        plans
    else
        {
            new IPlanSource with
                member _.Model = plans.Model
                member _.Plan request = shown.GetOrAdd(request, show)
        }

/// The same plans, shown on standard error.
let ofPlans (plans: IPlanSource) : IPlanSource = write DebugLevel.Current Console.Error plans

/// The plans of a model, shown on standard error.
let ofModel (model: ModelDef) : IPlanSource = ofPlans (CompiledModel model)
