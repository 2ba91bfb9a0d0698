/// Flags that may be given several times. Each time they take one value, so that the words behind it stay what they are.
module Legato.Cli.Repeatable

open System
open Argu

[<AttributeUsage(AttributeTargets.Property)>]
type RepeatableAttribute() =
    inherit Attribute()

let isRepeatable (case: ArgumentCaseInfo) =
    case.UnionCaseInfo.GetCustomAttributes typeof<RepeatableAttribute> |> Array.isEmpty |> not

/// Whether several values may be given: by a flag each, or as a verb's list of main arguments.
let takesSeveral (case: ArgumentCaseInfo) =
    isRepeatable case || case.IsMainCommand && case.ArgumentType = ArgumentType.List
