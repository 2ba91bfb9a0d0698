// A rule is made with on, from the type of the axis.
let placement (c: Config) : PlacementRule list = [ on<Batch> Data; c.Heads, TensorParallel ]
