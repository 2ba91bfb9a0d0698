/// Bounds on what a flag may carry. Each check gives the mistake, or nothing.
module Legato.Cli.Limits

open System
open System.IO
open Legato.Runtime.Cpu

let private unless holds what remedy where = if holds then None else Some(Mistake.at where remedy what)

let atLeast (least: int) flag (value: int) =
    unless (value >= least) $"{flag} must be at least {least}, not {value}" $"give {flag} {least} or more"

/// From 1 to a bound.
let upTo (most: int) flag (value: int) =
    unless
        (value >= 1 && value <= most)
        $"{flag} must lie between 1 and {most}, not {value}"
        $"give {flag} a number in that range"

/// Workers, of which no more work at once than there are processors: others would only take turns, and every step waits for all.
let threads flag (value: int) =
    let most = min CpuDeviceOptions.MostThreads Environment.ProcessorCount

    unless
        (value >= 1 && value <= most)
        $"{flag} must lie between 1 and {most}, the processors that Legato may use here, not {value}"
        $"give {flag} a number in that range, or leave it out: then there is one thread a core"

/// No more than another flag's number.
let atMost (other, most: int) flag (value: int) =
    unless
        (value <= most)
        $"{flag} must be at most what {other} is, {most}, not {value}"
        $"give {flag} {most} or less, or a larger {other}"

let notNegative flag (value: float) =
    unless
        (value >= 0.0 && value < infinity)
        $"{flag} must be a finite number of 0 or more, not {value}"
        $"give {flag} 0 or more"

let above (bound: float) flag (value: float) =
    unless
        (value > bound && value < infinity)
        $"{flag} must be a finite number greater than {bound}, not {value}"
        $"give {flag} a number greater than {bound}, in digits"

let private roundsTo isFit flag (value: float) =
    let rounded = float32 value

    unless
        (isFit rounded)
        $"{flag} is {value}, which float32 holds as {rounded}"
        $"give {flag} a number that float32 tells from 0, 1 and infinity"

/// What plans hold as a float32: neither so large that it becomes infinite there, nor so small that it becomes 0.
let single flag (value: float) =
    let isFit (rounded: float32) = value = 0.0 || Single.IsFinite rounded && Single.IsNormal rounded

    if Double.IsFinite value then roundsTo isFit flag value else unless true "" ""

/// The same for a share that is less than 1.
let singleBelowOne flag (value: float) where =
    single flag value where
    |> Option.orElseWith (fun () ->
        if value < 1.0 then
            roundsTo (fun rounded -> rounded < 1.0f) flag value where
        else
            None)

/// From the lower bound to the upper one, both included.
let within (low: float, high: float) flag (value: float) =
    unless
        (value >= low && value <= high)
        $"{flag} must lie between {low} and {high}, not {value}"
        $"give {flag} a number in that range"

/// From the lower bound, included, to the upper one, excluded.
let below (low: float, high: float) flag (value: float) =
    unless
        (value >= low && value < high)
        $"{flag} must be at least {low} and less than {high}, not {value}"
        $"give {flag} a number in that range"

let private oneOfEach flag (pairs: (string * string) list) where =
    pairs
    |> List.countBy fst
    |> List.tryFind (fun (_, count) -> count > 1)
    |> Option.map (fun (field, _) -> Mistake.at where "give it once" $"{flag} {field} is given more than once")

/// Every assignment has a field of its own, and a value.
let assignments flag (pairs: (string * string) list) where =
    pairs
    |> List.tryFind (fun (field, value) -> field = "" || value = "")
    |> Option.bind (fun (field, value) ->
        let what =
            match field, value with
            | "", "" -> $"{flag} is given an empty text"
            | "", _ -> $"{flag} takes KEY=VALUE, and '={value}' has no key"
            | _ -> $"{flag} takes KEY=VALUE, and '{field}' has no value"

        unless false what $"write {flag} KEY=VALUE" where)
    |> Option.orElseWith (fun () -> oneOfEach flag pairs where)

/// A path or a name, of which an empty text is none.
let named flag (text: string) =
    unless (text <> "") $"{flag} is given an empty text" $"name what {flag} means, or leave it out"

/// The main argument, which a verb can't do without.
let given name (value: string) where =
    unless (value <> "") $"{name} is not given" $"give {name}; `{where} --help` tells what it is" where

/// A path that a verb can't do without, if the flag is given at all.
let namedPlace flag isGiven (text: string) =
    if isGiven then
        unless (text <> "") $"{flag} is given an empty text" $"name what {flag} is to write"
    else
        given flag text

/// Extensions of files that hold a model, or a part of one, in formats that are none of a folder's name.
let private filesOfModels = [ ".safetensors"; ".bin"; ".pt"; ".pth"; ".ckpt"; ".onnx"; ".json"; ".h5"; ".npz"; ".zip" ]

/// A folder to write, whose name isn't one that files have.
let folderName remedy flag (path: string) =
    let extension = Path.GetExtension(path).ToLowerInvariant()

    unless
        (not (List.contains extension filesOfModels))
        $"{flag} names a {extension} file, and a folder is written"
        remedy

/// A check on a flag that may be absent.
let optional check flag value where = value |> Option.bind (fun given -> check flag given where)

let notBoth (first, isFirst) (second, isSecond) =
    unless (not (isFirst && isSecond)) $"{first} and {second} contradict each other" $"give one of {first} and {second}"

let private readOrElse remedy isRead flag isGiven choice (readers: string list) =
    let others =
        match readers with
        | [ one ] -> $"choose {one}"
        | several -> "choose among: " + String.concat ", " several

    unless (isRead || not isGiven) $"{flag} means nothing with {choice}" $"{remedy}, or {others}"

/// A flag that only some choices read.
let readBy isRead flag isGiven choice readers = readOrElse "leave it out" isRead flag isGiven choice readers

/// A check a flag that some choices don't read: its name, the choices that do, and how it is told among the arguments.
/// <param name="instead">The flag that says the same to a choice that doesn't read this one, if any does.</param>
let readers (nameOf: 'Choice -> string) instead choice (arguments: 'Argument list) flags = [
    for flag, by, isGiven in flags ->
        let remedy =
            match instead flag choice with
            | Some other -> $"give {other} instead"
            | None -> "leave it out"

        let isRead, isGiven = List.contains choice by, List.exists isGiven arguments
        readOrElse remedy isRead flag isGiven (nameOf choice) (List.map nameOf by)
]

/// The options if no check finds a mistake, else all mistakes.
let hold where checks options =
    match checks |> List.choose (fun check -> check where) with
    | [] -> Ok options
    | mistakes -> Error mistakes
