/// The machine's NVIDIA GPUs, and what Legato needs of NVIDIA's libraries to use them.
module Legato.Cli.Gpus

open Legato.Runtime
open Legato.Runtime.Cuda

type Gpu = {
    Name: string
    /// Such as "9.0".
    Capability: string
    /// Bytes.
    Memory: int64
    Multiprocessors: int
}

type Library = {
    Name: string
    /// None where it is nowhere.
    Path: string option
    /// What to install where it is missing.
    Install: string
}

type Found = {
    Gpus: Gpu list
    /// The newest CUDA that the driver knows.
    Driver: string option
    Libraries: Library list
    /// Folders that were searched beside the system loader's own.
    Searched: string list
    /// Why no GPU can be used, where that isn't a library.
    Problem: string option
    /// The folder of compiled kernels.
    Cache: string
}

let private gpu (found: CudaGpu) = {
    Name = found.Name
    Capability = found.Capability
    Memory = found.MemoryBytes
    Multiprocessors = found.Multiprocessors
}

let private library (library: CudaLibrary) = {
    Name = library.Files[0]
    Path = CudaLibraries.Find library |> Option.ofObj
    Install = library.Install
}

/// Never fails: what is wrong is part of the answer.
let find () : Found =
    let libraries = CudaLibrary.All |> Seq.map library |> List.ofSeq
    let hasDriver = libraries.Head.Path.IsSome

    let gpus, problem =
        if not hasDriver then
            [], None
        else
            try
                CudaMachine.Gpus() |> Seq.map gpu |> List.ofSeq, None
            with :? LegatoException as mistake ->
                [], Some mistake.What

    {
        Gpus = gpus
        Driver = if hasDriver && problem.IsNone then Some(CudaMachine.DriverVersion()) else None
        Libraries = libraries
        Searched = CudaLibraries.Folders() |> List.ofSeq
        Problem = problem
        Cache = CubinCache.Folder
    }
