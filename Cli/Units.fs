/// Figures as people read them; the same wherever the program runs.
module Legato.Cli.Units

open System
open System.Globalization
open Legato.Runtime

/// 124,439,808
let count (n: int64) = n.ToString("N0", CultureInfo.InvariantCulture)

/// 1 token, 2 tokens
let tokens (n: int64) = Counted.Of(n, "token")

let steps (n: int64) = Counted.Of(n, "step")

let threads (n: int) = Counted.Of(n, "thread")

/// A number with three significant digits, but no more than three after its point: 1,234, 12.3, 0.012.
let figure (x: float) =
    let digits = if x = 0.0 then 0 else 2 - int (floor (log10 (abs x))) |> max 0 |> min 3

    x.ToString("N" + string digits, CultureInfo.InvariantCulture)

/// A number with so many digits after its point.
let fixed' (digits: int) (x: float) = x.ToString("N" + string digits, CultureInfo.InvariantCulture)

let private scaled (step: float) units (x: float) =
    let rec climb x units =
        match units with
        | [ last ] -> x, last
        | unit :: larger -> if abs x < step then x, unit else climb (x / step) larger
        | [] -> x, ""

    let x, unit = climb x units
    $"{figure x} {unit}"

/// 12.3 MiB
let bytes (n: int64) = scaled 1024.0 [ "B"; "KiB"; "MiB"; "GiB"; "TiB" ] (float n)

/// 3.4 ms
let seconds (t: float) =
    if t >= 1.0 then $"{figure t} s"
    elif t >= 1e-3 then $"{figure (t * 1e3)} ms"
    else $"{figure (t * 1e6)} µs"

/// 12.3 G, of operations or bytes a second.
let rate (x: float) = scaled 1000.0 [ ""; "k"; "M"; "G"; "T"; "P" ] x

/// 97.3 %
let percent (share: float) = (100.0 * share).ToString("F1", CultureInfo.InvariantCulture) + " %"

/// Rows of cells as aligned columns; those named as texts are flush left, numbers flush right.
let table (texts: int list) (rows: string list list) : string =
    let columns = rows |> List.map _.Length |> List.max
    let cell i (row: string list) = row |> List.tryItem i |> Option.defaultValue ""
    let widths = [ for i in 0 .. columns - 1 -> rows |> List.map (fun row -> (cell i row).Length) |> List.max ]

    let line row =
        widths
        |> List.mapi (fun i width ->
            if List.contains i texts then
                (cell i row).PadRight width
            else
                (cell i row).PadLeft width)
        |> String.concat "  "

    rows |> List.map (fun row -> (line row).TrimEnd() + "\n") |> String.concat ""
