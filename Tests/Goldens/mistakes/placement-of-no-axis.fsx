// There is no axis Hidden.
let placement = [ on<Batch> Data; on<Hidden> TensorParallel ]
