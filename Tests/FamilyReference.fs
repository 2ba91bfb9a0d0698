/// Transformers in plain loops over float64, written from the papers and from the documented forward passes: nothing of the
/// language is used. A tensor's elements follow from its name and their place, so that no file is needed.
module Legato.Tests.FamilyReference

/// Positions by features.
type Values = float array array

/// An element of the tensor of that name: somewhere in ±0.4.
let element (name: string) (row: int) (column: int) =
    let mix (h: uint64) (x: uint64) =
        let h = (h ^^^ x) * 0x9E3779B97F4A7C15UL
        h ^^^ (h >>> 29)

    let seed = name |> Seq.fold (fun h c -> mix h (uint64 c)) 17UL
    let bits = mix (mix seed (uint64 row + 1UL)) (uint64 column + 1UL) * 0xBF58476D1CE4E5B9UL >>> 11
    0.8 * float bits / float (1UL <<< 53) - 0.4

let vector name size = Array.init size (fun i -> element name i 0)
let plus (x: Values) (y: Values) : Values = Array.map2 (Array.map2 (+)) x y
let scaled (s: float) (x: Values) : Values = x |> Array.map (Array.map ((*) s))
let apply (f: float -> float) (x: Values) : Values = x |> Array.map (Array.map f)
let times (x: Values) (y: Values) : Values = Array.map2 (Array.map2 (*)) x y

/// The rows of a table at some indices.
let rows name width (indices: int array) : Values =
    indices |> Array.map (fun row -> Array.init width (element name row))

/// Rows of a tensor [out, in] as a product, `first` the first row.
let product name first count (x: Values) : Values =
    x
    |> Array.map (fun row ->
        Array.init count (fun o -> row |> Array.mapi (fun i v -> v * element name (first + o) i) |> Array.sum))

let linear (name: string) count x = product (name + ".weight") 0 count x

let biased (name: string) count x : Values =
    linear name count x |> Array.map (Array.mapi (fun o y -> y + element (name + ".bias") o 0))

let private mean (row: float array) = Array.average row

let private normalised epsilon (row: float array) =
    let square = row |> Array.averageBy (fun v -> v * v)
    row |> Array.map (fun v -> v / sqrt (square + epsilon))

let private centred (row: float array) = row |> Array.map (fun v -> v - mean row)

/// x / rms(x) · (offset + weight).
let rmsOf offset epsilon (name: string) (x: Values) : Values =
    x
    |> Array.map (normalised epsilon >> Array.mapi (fun i v -> v * (offset + element (name + ".weight") i 0)))

let rms epsilon name x = rmsOf 0.0 epsilon name x
let layerNormPlain epsilon name (x: Values) = rms epsilon name (Array.map centred x)

let layerNorm epsilon (name: string) x : Values =
    layerNormPlain epsilon name x
    |> Array.map (Array.mapi (fun i v -> v + element (name + ".bias") i 0))

let silu x = x / (1.0 + exp -x)
let relu x = max 0.0 x

let geluTanh x = 0.5 * x * (1.0 + tanh (sqrt (2.0 / System.Math.PI) * (x + 0.044715 * x * x * x)))

// The error function's series.
let private erf (x: float) =
    let rec sum n term total =
        if abs term < 1e-18 then
            total
        else
            let next = -term * x * x * float (2 * n + 1) / float ((n + 1) * (2 * n + 3))
            sum (n + 1) next (total + next)

    2.0 / sqrt System.Math.PI * sum 0 x x

let gelu x = 0.5 * x * (1.0 + erf (x / sqrt 2.0))

/// A head's features turned by the position: pair i by position · theta^(−2i / rotary).
let turn interleaved theta rotary (position: int) (head: float array) =
    let turned = Array.copy head

    for i in 0 .. rotary / 2 - 1 do
        let a, b = if interleaved then 2 * i, 2 * i + 1 else i, i + rotary / 2
        let angle = float position * theta ** (-2.0 * float i / float rotary)
        turned[a] <- head[a] * cos angle - head[b] * sin angle
        turned[b] <- head[b] * cos angle + head[a] * sin angle

    turned

/// Each head of each position by itself.
let heads size (f: int -> int -> float array -> float array) (x: Values) : Values =
    x
    |> Array.mapi (fun position row ->
        row |> Array.chunkBySize size |> Array.mapi (fun head part -> f position head part) |> Array.concat)

let turnHeads interleaved theta rotary size x =
    heads size (fun position _ head -> turn interleaved theta rotary position head) x

/// Attention with the weight that a head's sink takes, beside those that `weigh` makes of the products q · k where `sees`
/// q k; query heads share key heads in runs. A value's head may have another size than a key's.
let attendOver
    size
    (weigh: int -> int -> int -> float -> float)
    sink
    sees
    (q: Values)
    (k: Values)
    (v: Values)
    : Values =
    let share = q[0].Length / k[0].Length
    let width = v[0].Length * size / k[0].Length

    q
    |> heads size (fun i head query ->
        let part size (row: float array) = row[head / share * size .. head / share * size + size - 1]

        let visible = [
            for j in 0 .. k.Length - 1 do
                if sees i j then
                    j, weigh head i j (Array.map2 (*) query (part size k[j]) |> Array.sum)
        ]

        let total = List.sumBy snd visible + sink head
        Array.init width (fun d -> visible |> List.sumBy (fun (j, w) -> w / total * (part width v[j])[d])))

/// softmax(modify(scale · q kᵀ)) v.
let attendWith size scale (sees: int -> int -> bool) modify q k v =
    attendOver size (fun head i j dot -> exp (modify head i j (scale * dot))) (fun _ -> 0.0) sees q k v

let unchanged (_: int) (_: int) (_: int) (score: float) = score
let causal (i: int) (j: int) = j <= i
let window size (i: int) (j: int) = j <= i && i - j < size
let everything (_: int) (_: int) = true

/// Attention with 1/√size.
let attend size sees q k v = attendWith size (1.0 / sqrt (float size)) sees unchanged q k v

/// A function of each layer's number in a row.
let layers count (f: int -> Values -> Values) (x: Values) = Seq.fold (fun x i -> f i x) x [ 0 .. count - 1 ]
