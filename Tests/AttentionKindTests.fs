/// Kinds of attention, each against plain loops, with its gradient and its kernels, and over a cache as over the whole text.
module Legato.Tests.AttentionKindTests

open System
open Legato.Compiler
open Legato.Cli
open Legato.Dsl
open Legato.Runtime.Checkpoints
open Legato.Runtime.Generation
open Legato.Runtime.Plans
open Legato.Runtime.Training
open Legato.Tests.GraphValues
open Legato.Tests.PassExecution
open NUnit.Framework

type private Bucket = interface end
type private Narrow = interface end

let private length, size, buckets = 9, 4, 8
let private batch, sequence = dim "Batch" 1, dim "Seq" length
let private heads, keyHeads, features = dim "Heads" 4, dim "KvHeads" 2, dim "HeadDim" size

let private q: Tensor<Batch * Seq, Heads * HeadDim> =
    Tensor(floats "q" [ batch; sequence; heads; features ])

let private keys name count feature = floats name [ batch; dim "Context" count; keyHeads; feature ]

let private k: Tensor<Batch * Context, KvHeads * HeadDim> = Tensor(keys "k" length features)
let private v: Tensor<Batch * Context, KvHeads * HeadDim> = Tensor(keys "v" length features)

let private values = [
    "q", random 1 (length * 4 * size)
    "k", random 2 (length * 2 * size)
    "v", random 3 (length * 2 * size)
    "narrow", random 4 (length * 2 * 3)
    "memory_k", random 5 (6 * 2 * size)
    "memory_v", random 6 (6 * 2 * size)
    "sinks", random 7 4
    "table", random 8 (buckets * 4)
    "past", [ 0.0 ]
]

let private given name = Map.find name (Map.ofList values) |> Array.ofList
let private rows name width : FamilyReference.Values = given name |> Array.chunkBySize width
let private scale = 1.0 / sqrt (float size)

let private reference sees modify =
    FamilyReference.attendWith size scale sees modify (rows "q" 16) (rows "k" 8) (rows "v" 8)

let private masked mask sees = (attend mask q k v).Node, (fun () -> reference sees FamilyReference.unchanged)

let private relative isCausal =
    let table: Embedding<Bucket, Heads> =
        Embedding(floats "table" [ dim "Bucket" buckets; heads ], "Bucket")

    let queries: Tensor<Seq, unit> = Tensor(Node.iota sequence)
    let keys: Tensor<Context, unit> = Tensor(Node.iota (dim "Context" length))

    let visible, sees =
        if isCausal then
            causal, FamilyReference.causal
        else
            everything, FamilyReference.everything

    // Half of the buckets hold one distance each, the others up to 6 in equal steps of the logarithm.
    let bucket count distance =
        let exact = count / 2

        if distance < exact then
            distance
        else
            let share = log (float distance / float exact) / log (6.0 / float exact)
            min (count - 1) (exact + int (share * float (count - exact)))

    let place i j =
        if isCausal then bucket buckets (max 0 (i - j))
        elif j > i then buckets / 2 + bucket (buckets / 2) (j - i)
        else bucket (buckets / 2) (i - j)

    let bias head i j score = score + (given "table")[place i j * 4 + head]
    (attend (visible + relativeBias table isCausal 6 queries keys) q k v).Node, (fun () -> reference sees bias)

let private sinks =
    let node = (attendWithSinks scale (causal &&& window 4) (Vector(floats "sinks" [ heads ])) q k v).Node

    let weigh _ _ _ dot = exp (scale * dot)
    let sink head = exp (given("sinks").[head])

    node,
    fun () ->
        FamilyReference.attendOver size weigh sink (FamilyReference.window 4) (rows "q" 16) (rows "k" 8) (rows "v" 8)

// The sums of φ(k) vᵀ and of φ(k) grow position by position, and nothing else of the past is kept.
let private linear =
    let phi x = if x > 0.0 then x + 1.0 else exp x

    let recurrent () : FamilyReference.Values =
        let q, k = FamilyReference.apply phi (rows "q" 16), FamilyReference.apply phi (rows "k" 8)
        let v = rows "v" 8
        let sums = Array.init 2 (fun _ -> Array2D.zeroCreate<float> size size)
        let totals = Array.init 2 (fun _ -> Array.zeroCreate<float> size)

        Array.init length (fun i ->
            for g in 0..1 do
                for d in 0 .. size - 1 do
                    totals[g][d] <- totals[g][d] + k[i][g * size + d]

                    for e in 0 .. size - 1 do
                        sums[g][d, e] <- sums[g][d, e] + k[i][g * size + d] * v[i][g * size + e]

            Array.init 16 (fun n ->
                let head, e = n / size, n % size
                let of' f = Seq.sum (seq { for d in 0 .. size - 1 -> q[i][head * size + d] * f d })
                of' (fun d -> sums[head / 2][d, e]) / of' (fun d -> totals[head / 2][d])))

    (attendLinear causal (eluPlusOne q) (eluPlusOne k) v).Node, recurrent

let private ofAll =
    let phi x = if x > 0.0 then x + 1.0 else exp x
    let weigh _ _ _ dot = dot
    let q', k' = FamilyReference.apply phi (rows "q" 16), FamilyReference.apply phi (rows "k" 8)

    (attendLinear everything (eluPlusOne q) (eluPlusOne k) v).Node,
    fun () -> FamilyReference.attendOver size weigh (fun _ -> 0.0) FamilyReference.everything q' k' (rows "v" 8)

let private narrow: Tensor<Batch * Context, KvHeads * Narrow> =
    Tensor(keys "narrow" length (dim "Narrow" 3))

let private cross =
    let memory name : Tensor<Batch * Context, KvHeads * HeadDim> = Tensor(keys name 6 features)

    (attendAcross scale everything q (memory "memory_k") (memory "memory_v")).Node,
    fun () ->
        FamilyReference.attend size FamilyReference.everything (rows "q" 16) (rows "memory_k" 8) (rows "memory_v" 8)

let private kinds =
    Map.ofList [
        "local and global", masked (local 2 ||| globals 1) (fun i j -> abs (i - j) <= 2 || i < 1 || j < 1)
        "strided", masked (causal &&& (window 3 ||| strided 3)) (fun i j -> j <= i && (i - j < 3 || (i - j) % 3 = 0))
        "fixed", masked (causal &&& blocked 4 1) (fun i j -> j <= i && (j / 4 = i / 4 || j % 4 = 3))
        "relative", relative false
        "relative and causal", relative true
        "sinks", sinks
        "linear", linear
        "linear of all", ofAll
        "cross", cross
        "values narrower than keys",
        ((attend causal q k narrow).Node,
         fun () -> FamilyReference.attend size FamilyReference.causal (rows "q" 16) (rows "k" 8) (rows "narrow" 6))
    ]

let private names = Map.keys kinds |> List.ofSeq

[<TestCaseSource(nameof names)>]
let ``a kind of attention is what plain loops compute`` (name: string) =
    let node, reference = kinds[name]
    close 1e-12 (reference () |> Array.concat |> List.ofArray) (evaluate values node)

let private trained name = Uncached.withoutCache [ fst kinds[name] ] |> List.exactlyOne

[<TestCaseSource(nameof names)>]
let ``its gradient is the slope`` (name: string) = GradientChecks.check values (GradientChecks.lossOf [ trained name ])

[<TestCaseSource(nameof names)>]
let ``its kernels compute it and its gradient`` (name: string) =
    let node = trained name
    let loss = GradientChecks.lossOf [ Node.map1 (fun y -> y * y) node ]

    let inputs =
        Node.topological [ node ]
        |> List.filter (fun n ->
            match n.Op with
            | Op.Input(_, _, Float) -> true
            | _ -> false)

    let gradients = Differentiate.gradient Rematerialisation.None loss inputs
    let names = "y" :: [ for input in inputs -> $"d {nameOf input}" ]
    use device = cpu ()
    callOf (Sinks.apart (node :: gradients.Of) |> List.zip names) [] |> agrees device values

[<Test>]
let ``the gradient of attention with sinks keeps no scores`` () =
    let node = trained "sinks"

    let isInput (n: Node) =
        match n.Op with
        | Op.Input(_, _, Float) -> true
        | _ -> false


    let wrt = Node.topological [ node ] |> List.filter isInput
    let gradients = Differentiate.gradient Rematerialisation.None (GradientChecks.lossOf [ node ]) wrt

    for n in Node.topological (Sinks.apart gradients.Of) do
        Assert.That((Node.hasAxis "Seq" n && Node.hasAxis "Context" n), Is.False, string n.Op)

[<TestCase("linear", 2L); TestCase("linear", 4L); TestCase("linear of all", 4L)>]
let ``linear attention in chunks is the whole, and so is its gradient`` (name: string, size: int64) =
    let cut = Linear.chunked { Chunk = size; Advantage = 0.0 } [ trained name ] |> List.exactlyOne

    Assert.That(
        Node.topological [ cut ]
        |> List.forall (fun n -> not (Node.hasAxis "Seq" n && Node.hasAxis "Context" n))
    )

    close 1e-12 (evaluate values (trained name)) (evaluate values cut)
    GradientChecks.check values (GradientChecks.lossOf [ cut ])
    use device = cpu ()
    callOf [ "y", cut ] [] |> agrees device values

let private sizes = GraphSamples.sizes

let private decoder
    (attended:
        Layer<
            Tensor<Batch * Seq, Heads * HeadDim>
                -> Tensor<Batch * Context, KvHeads * HeadDim>
                -> Tensor<Batch * Context, KvHeads * HeadDim>
                -> Tensor<Batch * Seq, Heads * HeadDim>
         >)
    =
    let attention =
        layer "attn" {
            let! wq = weight "q" sizes.Embed (sizes.Heads ^* sizes.HeadDim)
            and! wk = weight "k" sizes.Embed (sizes.KvHeads ^* sizes.HeadDim)
            and! wv = weight "v" sizes.Embed (sizes.KvHeads ^* sizes.HeadDim)
            and! wo = weight "o" (sizes.Heads ^* sizes.HeadDim) sizes.Embed
            and! kv = cache "kv" sizes.Context sizes.KvHeads sizes.HeadDim
            and! attended = attended

            return
                fun x ->
                    let keys, values = kv.Append(x *@ wk, x *@ wv)
                    x + attended (x *@ wq) keys values *@ wo
        }

    layer "model" {
        let! tokens = embedding "tokens" sizes.Vocab sizes.Embed
        and! blocks = stack sizes.Layers attention
        return fun ids -> tokens.Lookup ids |> blocks |> tokens.Unembed
    }
    |> GraphSamples.model

let private summing =
    let attention =
        layer "attn" {
            let! wq = weight "q" sizes.Embed (sizes.Heads ^* sizes.HeadDim)
            and! wk = weight "k" sizes.Embed (sizes.KvHeads ^* sizes.HeadDim)
            and! wv = weight "v" sizes.Embed (sizes.KvHeads ^* sizes.HeadDim)
            and! wo = weight "o" (sizes.Heads ^* sizes.HeadDim) sizes.Embed
            and! sum = runningSum "kv" sizes.KvHeads sizes.HeadDim sizes.HeadDim
            return fun x -> x + sum.Attend(eluPlusOne (x *@ wq), eluPlusOne (x *@ wk), x *@ wv) *@ wo
        }

    layer "model" {
        let! tokens = embedding "tokens" sizes.Vocab sizes.Embed
        and! blocks = stack sizes.Layers attention
        return fun ids -> tokens.Lookup ids |> blocks |> tokens.Unembed
    }
    |> GraphSamples.model

let private decoders =
    Map.ofList [
        "strided", decoder (Layer.value (attend (causal &&& (window 2 ||| strided 2))))
        "fixed", decoder (Layer.value (attend (causal &&& blocked 2 1)))
        "sinks", decoder (vectorOf (Normal 1.0) "sinks" sizes.Heads |> Layer.map (attendWithSinks 0.5 causal))
        "linear", decoder (Layer.value (fun q k v -> attendLinear causal (eluPlusOne q) (eluPlusOne k) v))
        "running sum", summing
    ]

let private cachedNames = Map.keys decoders |> List.ofSeq

[<TestCaseSource(nameof cachedNames)>]
let ``over a cache it gives what it gives over the whole text`` (name: string) =
    GraphCallTests.cachingAgrees decoders[name]

[<TestCase(4, 1024, true); TestCase(2, 1024, false); TestCase(2, 4096, true)>]
let ``linear attention is cut into chunks where they pay, later in 16 bits`` (bytes: int, length: int, isCut: bool) =
    let keys name : Tensor<Batch * Context, KvHeads * HeadDim> = Tensor(keys name length features)

    let queries: Tensor<Batch * Seq, Heads * HeadDim> =
        Tensor(floats "q" [ batch; dim "Seq" length; heads; features ])

    let whole = (attendLinear causal (eluPlusOne queries) (eluPlusOne (keys "k")) (keys "v")).Node

    let isAttention (node: Node) =
        match node.Op with
        | Op.Composite(Attend _) -> true
        | _ -> false

    let found = Uncached.withoutCache [ whole ] |> Linear.chunked (Linear.cutOf bytes)
    Assert.That(Node.topological found |> List.exists isAttention, Is.EqualTo(not isCut))

let private callOf' purpose context = Specialise.call summing (PlanRequest(purpose, 2L, 4L, context))

[<Test>]
let ``without earlier calls a running sum is linear attention over a cache`` () =
    let logits model =
        let call = Specialise.call model (PlanRequest(Purpose.Forward, 2L, 4L, 4L))

        let parameters = [
            for p in call.Parameters -> p.Parameter.Path, random p.Parameter.Path.Length (elements p.Node)
        ]

        let tokens = [ 3.0; 1.0; 4.0; 1.0; 5.0; 9.0; 2.0; 6.0 ]
        evaluateWith [] (("tokens", tokens) :: parameters) (call.Outputs |> List.map snd) |> List.head

    close 0.0 (logits decoders["linear"]) (logits summing)

[<Test>]
let ``a running sum keeps no positions, and a token costs the same in any context`` () =
    for state, value in (callOf' Purpose.Decode 8L).Updates do
        for node in Node.topological [ value ] do
            Assert.That(Node.hasAxis "Context" node, Is.False, string node.Op)

        Assert.That(Node.hasAxis "Context" state, Is.False)

    let cost context =
        let plan = Compile.plan summing (PlanRequest(Purpose.Decode, 2L, 1L, context))
        plan.Steps |> Seq.map (fun step -> step.Cost.ToString()) |> String.concat "\n"

    Assert.That(cost 8L, Is.EqualTo<string>(cost 4L))

[<Test>]
let ``a running sum is kept in float32 where caches are narrow`` () =
    let kept name =
        let request = PlanRequest(Purpose.Decode, 2L, 1L, 8L, Precision = "bf16", NarrowActivations = true)
        let plan = Compile.plan decoders[name] request

        [
            for buffer in plan.Buffers do
                if buffer.Name.Contains ".kv_" then
                    buffer.Type
        ]
        |> List.distinct

    Assert.That(kept "running sum" |> List.map string, Is.EqualTo<string list> [ "F32" ])
    Assert.That(kept "linear" |> List.map string, Is.EqualTo<string list> [ "BF16" ])

/// Rows of several lengths whose prompts are read in parts: what a device says next is what it says of the whole text.
[<TestCase(1); TestCase(2); TestCase(3); TestCase(8)>]
let ``padding and parts of prompts leave a running sum as it is`` (part: int) =
    for name in [ "running sum"; "linear" ] do
        let plans = CompiledModel decoders[name] :> IPlanSource
        use device = cpu ()
        use memory = new ModelMemory(device)
        use _ = memory.Compile(plans.Plan(PlanRequest(Purpose.Forward, 1L, 8L, 8L)))
        InitialParameters.Write(plans.Model, 5L, fun path -> memory.Parameter path)
        let prompts = [| [| 3; 1; 4; 1; 5 |]; [| 9; 2 |]; [| 6 |] |]
        let sizes = GeneratorSizes(prompts.Length, 8, part)
        use generator = new Generator(plans, memory, sizes, null)

        for twice in 1..2 do
            let said = generator.Generate(prompts, GenerationOptions(3, Sampling = Sampling.Greedy))

            for prompt, row in Array.zip prompts (Array.ofSeq said) do
                let mutable text = prompt

                for token in row.Tokens do
                    let request = PlanRequest(Purpose.Forward, 1L, int64 text.Length, int64 text.Length)
                    use whole = memory.Compile(plans.Plan request)
                    let logits = VerifyInference.forward whole text
                    let vocabulary = logits.Length / text.Length
                    let last = logits[logits.Length - vocabulary ..]

                    Assert.That(
                        token,
                        Is.EqualTo(Array.findIndex ((=) (Array.max last)) last),
                        $"{name}, round {twice}"
                    )

                    text <- Array.append text [| token |]

/// Whether a model's call of so many tokens has attention in it.
let private attends tokens size =
    let head, context = axis<HeadDim> size, axis<Context> 4096

    let attention =
        layer "attn" {
            let! w = weight "w" sizes.Embed (sizes.Heads ^* head)
            and! o = weight "o" (sizes.Heads ^* head) sizes.Embed
            and! sum = runningSum "kv" sizes.Heads head head
            return fun x -> sum.Attend(eluPlusOne (x *@ w), eluPlusOne (x *@ w), x *@ w) *@ o
        }

    let model =
        layer "model" {
            let! table = embedding "tokens" sizes.Vocab sizes.Embed
            and! attention = attention
            return fun ids -> table.Lookup ids |> attention |> table.Unembed
        }
        |> ModelDef.create "sums" sizes.Vocab context

    (Specialise.call model (PlanRequest(Purpose.Forward, 1L, tokens, tokens))).Outputs
    |> List.map snd
    |> Node.topological
    |> List.exists (fun node ->
        match node.Op with
        | Op.Composite(Attend _) -> true
        | _ -> false)

[<Test>]
let ``chunks take the place of attention where they multiply half as much`` () =
    Assert.That(
        List.map (fun tokens -> attends tokens 64) [ 256L; 767L; 768L; 4096L ],
        Is.EqualTo<bool list> [ true; true; false; false ]
    )

    Assert.That(List.map (fun tokens -> attends tokens 128) [ 1023L; 1024L ], Is.EqualTo<bool list> [ true; false ])
