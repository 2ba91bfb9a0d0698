namespace Legato.Compiler

open Legato.Runtime.Plans

/// A point of a curve: how much there is to do at a time, and how much of it a second was done then.
type SpeedPoint = { Work: float; PerSecond: float }

/// Operations a second of attention at a head size, by the keys of a row.
type AttentionSpeed = { HeadSize: int64; Forward: SpeedPoint list; Backward: SpeedPoint list }

/// What a device reaches at each kind of work; curves go from little work to much.
type DeviceSpeed = {
    /// Operations a second of products, a multiply-add counting two, by the operations of one.
    Products: SpeedPoint list
    /// Bytes a second of products, by their rows: those of few rows take as long as their right operand does to be read.
    ProductBytes: SpeedPoint list
    /// By head size, from small to large.
    Attention: AttentionSpeed list
    /// Bytes a second of attention of one query a row, by the bytes of its keys and values.
    CacheBytes: SpeedPoint list
    /// float32 operations a second of other kernels.
    Kernels: float
    /// Bytes a second of other kernels.
    Bandwidth: float
    /// Seconds that a launch takes whatever it does, its first and its last threads.
    LaunchSeconds: float
}

[<RequireQualifiedAccess>]
module DeviceSpeed =
    /// A curve of one speed.
    let always perSecond = [ { Work = 1.0; PerSecond = perSecond } ]

    /// The speed at so much work: between two points by the work's logarithm, beyond the ends as at them.
    let at (curve: SpeedPoint list) work =
        let between (a: SpeedPoint, b: SpeedPoint) =
            if work <= b.Work then
                let share = log (max work a.Work / a.Work) / log (b.Work / a.Work)
                Some(a.PerSecond + share * (b.PerSecond - a.PerSecond))
            else
                None

        curve
        |> List.pairwise
        |> List.tryPick between
        |> Option.defaultWith (fun () -> (if work <= curve.Head.Work then curve.Head else List.last curve).PerSecond)

    /// Time is what the slower of arithmetic and memory takes (the roofline of Williams et al. 2009), the launch aside.
    let seconds (maximum: Extent -> int64) (speed: DeviceSpeed) (step: Step) flops bytes =
        let arithmetic, memory =
            let product rows groups = at speed.Products (flops / groups), at speed.ProductBytes (rows / groups)

            let attention (shape: AttentionShape) curve =
                let size = maximum shape.HeadSize

                let nearest =
                    speed.Attention
                    |> List.tryFind (fun known -> known.HeadSize >= size)
                    |> Option.defaultWith (fun () -> List.last speed.Attention)

                let isDecoding = maximum shape.QueryLength = 1L
                let memory = if isDecoding then at speed.CacheBytes bytes else speed.Bandwidth
                at (curve nearest) (float (maximum shape.KeyLength)), memory

            match step with
            | :? Step.MatrixProduct as p -> product (float (maximum p.M)) 1.0
            | :? Step.GroupedProduct as p -> product (float (maximum p.Rows.Count)) (float p.Rows.Groups)
            | :? Step.GroupedGradient as g -> product (float (maximum g.M)) (float g.Rows.Groups)
            | :? Step.Attention as a -> attention a.Shape _.Forward
            | :? Step.AttentionGradient as a -> attention a.Shape _.Backward
            | _ -> speed.Kernels, speed.Bandwidth

        max (flops / arithmetic) (bytes / memory)
