/// Flags that may be given several times. Each time they take one value, so that the words behind it stay what they are.
module Legato.Cli.Repeatable

open System
open Argu

[<AttributeUsage(AttributeTargets.Property)>]
type RepeatableAttribute() =
    inherit Attribute()

let isRepeatable (case: ArgumentCaseInfo) =
    case.UnionCaseInfo.GetCustomAttributes typeof<RepeatableAttribute> |> Array.isEmpty |> not
