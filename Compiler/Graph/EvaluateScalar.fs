/// The meaning of scalar expressions in float64; integers are exact, false and true are 0 and 1.
module Legato.Compiler.EvaluateScalar

open System
open Legato.Dsl

/// erf by its series of positive terms (Abramowitz and Stegun 1964, 7.1.6).
let private erf x =
    let rec sum term n total =
        if term < 1e-17 * total then
            total
        else
            let next = term * 2.0 * x * x / float (2 * n + 1) in sum next (n + 1) (total + next)

    if abs x > 6.0 then float (sign x)
    elif x = 0.0 then 0.0
    else Math.CopySign(2.0 / sqrt Math.PI * exp (-x * x) * sum (abs x) 1 (abs x), x)

let private truth condition = if condition then 1.0 else 0.0

let private unary op : float -> float =
    match op with
    | Neg -> (~-)
    | Abs -> abs
    | Exp -> exp
    | Log -> log
    | Sqrt -> sqrt
    | Rsqrt -> fun x -> 1.0 / sqrt x
    | Tanh -> Math.Tanh
    | Sin -> sin
    | Cos -> cos
    | Erf -> fun x -> if Double.IsNaN x then x else erf x
    | Not -> fun x -> 1.0 - x
    | ToFloat
    | Detach -> id
    | IsFinite -> fun x -> truth (Double.IsFinite x)

let private binary op kind : float -> float -> float =
    match op with
    | Add
    | Sub
    | Mul ->
        (match op with
         | Add -> (+)
         | Sub -> (-)
         | _ -> (*))
    | Div -> if kind = Integer then (fun x y -> truncate (x / y)) else (/)
    | Rem -> (%)
    | Min -> fun x y -> Math.Min(x, y)
    | Max -> fun x y -> Math.Max(x, y)
    | Less -> fun x y -> truth (x < y)
    | LessOrEqual -> fun x y -> truth (x <= y)
    | Equal -> fun x y -> truth (x = y)
    | And -> (*)
    | Or -> fun x y -> Math.Max(x, y)
    | UniformAt -> fun key counter -> float (Legato.Runtime.Plans.Philox.Uniform(int64 key, int64 counter))

/// The function of the arguments that an expression means; `kinds` are the arguments'.
let rec compile (kinds: ElementType list) scalar : (int -> float) -> float =
    match scalar with
    | Arg i -> fun arg -> arg i
    | Num x -> fun _ -> x
    | Int i -> fun _ -> float i
    | Var name -> raise (ModelError($"the variable {name} has no value", "Map", "variables belong in masks and scores"))
    | Un(op, x) ->
        let f, x = unary op, compile kinds x
        fun arg -> f (x arg)
    | Bin(op, x, y) ->
        let f = binary op (Infer.typeOf kinds x)
        let x, y = compile kinds x, compile kinds y
        fun arg -> f (x arg) (y arg)
    | If(c, x, y) ->
        let c, x, y = compile kinds c, compile kinds x, compile kinds y
        fun arg -> if c arg <> 0.0 then x arg else y arg
