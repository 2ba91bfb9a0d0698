/// Plans on a device, with values by name: what the tests of the passes share.
module Legato.Tests.PassExecution

open System
open System.Collections.Generic
open System.Runtime.InteropServices
open Legato.Compiler
open Legato.Dsl
open Legato.Runtime.Cpu
open Legato.Runtime.Devices
open Legato.Runtime.Interpreter
open Legato.Runtime.Plans
open Legato.Tests.GraphValues

/// A call with these results, and no model around it.
let callOf outputs updates : Specialise.Call =
    let roots = List.map snd outputs @ List.collect (fun (target, value) -> [ target; value ]) updates

    let declared =
        Node.topological roots
        |> List.choose (fun node ->
            match node.Op with
            | Op.Param(p, dims) ->
                Some { Parameter = p; Node = node; Grouping = dims |> List.map (fun _ -> 1); Numbers = [] }
            | _ -> None)

    { Outputs = outputs; Updates = updates; Parameters = declared; Gradients = [] }

let planOf (call: Specialise.Call) : Plan =
    let lowered = Lower.call Purpose.Train Precision.float32 call
    let buffers, arena = Layout.assign 0L (fun (e: Extent) -> e.Constant) lowered.Drafts lowered.Steps

    Plan(
        "graph",
        Purpose.Train,
        "fp32",
        [||],
        Array.ofList buffers,
        [||],
        Array.ofList lowered.Setup,
        Array.ofList lowered.Steps,
        arena
    )

let private toBytes kind (values: float list) : byte array =
    let cast (convert: float -> 'T) =
        MemoryMarshal.AsBytes(ReadOnlySpan(values |> List.map convert |> Array.ofList)).ToArray()

    match kind with
    | ScalarType.F32 -> cast float32
    | ScalarType.I32 -> cast int32
    | ScalarType.F16 -> cast Half.op_Explicit
    // The upper half of a float32, rounded to even.
    | _ ->
        cast (fun x ->
            let bits = BitConverter.SingleToUInt32Bits(float32 x)
            uint16 ((bits + 0x7fffu + ((bits >>> 16) &&& 1u)) >>> 16))

let private ofBytes kind (bytes: byte array) : float list =
    let cast (convert: 'T -> float) =
        MemoryMarshal.Cast<byte, 'T>(ReadOnlySpan bytes).ToArray() |> Array.map convert |> List.ofArray

    match kind with
    | ScalarType.F32 -> cast (fun (x: float32) -> float x)
    | ScalarType.I32 -> cast (fun (x: int) -> float x)
    | ScalarType.F16 -> cast (fun (x: Half) -> float x)
    | _ -> cast (fun (x: uint16) -> float (BitConverter.UInt32BitsToSingle(uint32 x <<< 16)))

/// What outlives plans, by name; plans of one model share it.
type Persistent(device: IDevice) =
    let memories = Dictionary<string, IDeviceMemory>()
    member _.Memories = memories

    member _.Ensure(plan: Plan) =
        for buffer in plan.Buffers do
            if buffer.IsPersistent && not (memories.ContainsKey buffer.Name) then
                memories[buffer.Name] <- device.Allocate(plan.Maximum buffer.Bytes)

    interface IDisposable with
        member _.Dispose() =
            for memory in memories.Values do
                memory.Dispose()

/// A plan made ready, whose buffers are written and read as lists of numbers.
type Running(device: IDevice, plan: Plan, persistent: Persistent) =
    do persistent.Ensure plan
    let executable = device.Compile(plan, persistent.Memories)

    let memory (buffer: PlanBuffer) =
        if buffer.IsPersistent then
            persistent.Memories[buffer.Name]
        else
            executable.Memory buffer

    let sizes = Dictionary<string, int64>()

    let size name =
        match sizes.TryGetValue name with
        | true, n -> n
        | _ -> (plan.Dimensions |> Seq.find (fun d -> d.Name = name)).Maximum

    member _.Bind(name: string, n: int64) =
        sizes[name] <- n
        executable.Bind(name, n)

    /// Gives the values of the buffers that the plan has among these.
    member _.Write(values: (string * float list) list) =
        let given = Map.ofList values

        for buffer in plan.Buffers do
            if buffer.IsPersistent || buffer.Class = BufferClass.Input then
                match given.TryFind buffer.Name with
                | Some v -> (memory buffer).Write(0L, ReadOnlySpan(toBytes buffer.Type v))
                | None -> ()

    member _.Read(buffer: PlanBuffer) : float list =
        let bytes = Array.zeroCreate<byte>(int (buffer.Bytes.Evaluate size))
        (memory buffer).Read(0L, Span bytes)
        ofBytes buffer.Type bytes

    member this.Output(name: string) = this.Read(plan.Buffer(BufferClass.Output, name))

    /// The whole arena but the inputs becomes NaN: what reads before anything is written shows.
    member _.Poison() =
        for buffer in plan.Buffers do
            if not buffer.IsPersistent && buffer.Class <> BufferClass.Input then
                let bytes = Array.create (int (plan.Maximum buffer.Bytes)) 0xFFuy
                (memory buffer).Write(0L, ReadOnlySpan bytes)

    member _.Run() = executable.Run()

    interface IDisposable with
        member _.Dispose() = executable.Dispose()

let interpreter () : IDevice = new InterpreterDevice()
let cpu () : IDevice = new CpuDevice(CpuDeviceOptions(Threads = 2, Pin = false))

/// Everything that the plan leaves behind: outputs, then persistent buffers but constants, by name.
let execute (device: IDevice) (plan: Plan) (values: (string * float list) list) : (string * float list) list =
    use persistent = new Persistent(device)
    use running = new Running(device, plan, persistent)
    running.Poison()
    running.Write values
    running.Run()

    [
        for buffer in plan.Buffers do
            if buffer.Class = BufferClass.Output then
                buffer.Name, running.Read buffer
        for buffer in plan.Buffers do
            if buffer.IsPersistent && buffer.Class <> BufferClass.Constant then
                buffer.Name, running.Read buffer
    ]

// A seed that is the same in every process, unlike a string's hash code.
let private seedOf (name: string) = (7, name) ||> Seq.fold (fun n letter -> (n * 31 + int letter) % 1_000_003)

/// Values for all that a call takes: random by name, as a float32 holds them; others as given.
let valuesOf (given: (string * float list) list) (call: Specialise.Call) =
    let given = Map.ofList given

    [
        for node in Node.topological (List.map snd call.Outputs @ List.collect (fun (t, v) -> [ t; v ]) call.Updates) do
            match node.Op with
            | Op.Input _
            | Op.Param _
            | Op.State _ ->
                let name = nameOf node

                name,
                given
                |> Map.tryFind name
                |> Option.defaultWith (fun () -> random (seedOf name) (elements node) |> List.map (float32 >> float))
            | _ -> ()
    ]

/// What the float64 evaluator says of the results that `execute` gives, where it says something.
let expected (call: Specialise.Call) values =
    let updates =
        call.Updates |> List.map (fun (target, value) -> nameOf target, Node.broadcast target.Dims value)

    let named = call.Outputs @ updates
    List.zip (List.map fst named) (evaluateWith [] values (List.map snd named))

let compare
    (tolerance: float)
    (context: string)
    (wanted: (string * float list) list)
    (found: (string * float list) list)
    =
    for (name, e), (name', a) in List.zip wanted found do
        if name <> name' || List.length e <> List.length a then
            failwith $"{context}: {name'} with {a.Length} elements, not {name} with {e.Length}"

        List.zip e a
        |> List.iteri (fun i (e, a) ->
            if not (e = a || abs (e - a) <= tolerance * max 1.0 (abs e)) then
                failwith $"{context}: element {i} of {name} is {a}, not {e}")

let private onlyNamed (names: Set<string>) results = results |> List.filter (fun (n, _) -> names.Contains n)

/// Lowers a graph and compares the interpreter with the evaluator, then the processor with the interpreter.
let agrees (processor: IDevice) given (call: Specialise.Call) =
    let values = valuesOf given call
    let plan = planOf call
    let wanted = expected call values
    let names = wanted |> List.map fst |> Set.ofList
    let byName results = results |> onlyNamed names |> List.sortBy fst
    use oracle = interpreter ()

    try
        let interpreted = execute oracle plan values |> byName
        compare 2e-5 "interpreter" (byName wanted) interpreted
        compare 2e-5 "cpu" interpreted (execute processor plan values |> byName)
    with mistake ->
        raise (
            Exception(
                $"{mistake.Message}\n{Print.graph (call.Outputs @ [ for t, v in call.Updates -> nameOf t, v ])}",
                mistake
            )
        )
