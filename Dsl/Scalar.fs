namespace Legato.Dsl

/// What one element computes: the body of a Map node, a mask, a score modification. Closed and printable, so that the
/// compiler can differentiate it, classify tiles by it and write it into kernels.
type Unary =
    | Neg
    | Abs
    | Exp
    | Log
    | Sqrt
    | Rsqrt
    | Tanh
    | Sin
    | Cos
    | Erf
    | Not
    | ToFloat
    | IsFinite
    /// The identity, with derivative zero.
    | Detach

type Binary =
    | Add
    | Sub
    | Mul
    | Div
    | Rem
    | Min
    | Max
    | Less
    | LessOrEqual
    | Equal
    | And
    | Or
    /// A uniform number in [0, 1) of a key and a counter, both integers, that depends on nothing else.
    | UniformAt

[<CustomEquality; CustomComparison>]
type Scalar =
    /// The operand with this number.
    | Arg of int
    /// A named variable of a mask or score: b, h, q, k, score.
    | Var of string
    | Num of float
    | Int of int64
    | Un of Unary * Scalar
    | Bin of Binary * Scalar * Scalar
    | If of Scalar * Scalar * Scalar

    override this.ToString() =
        match this with
        | Arg i -> $"${i}"
        | Var name -> name
        | Num x -> x.ToString("R", System.Globalization.CultureInfo.InvariantCulture)
        | Int i -> $"{i}i"
        | Un(op, x) -> $"{op}({x})"
        | Bin(op, x, y) -> $"{op}({x}, {y})"
        | If(c, x, y) -> $"If({c}, {x}, {y})"

    override this.Equals other =
        match other with
        | :? Scalar as s -> System.Object.ReferenceEquals(this, s) || Scalar.Same(this, s)
        | _ -> false

    override this.GetHashCode() =
        match this with
        | Arg i -> 17 * i + 1
        | Var name -> name.GetHashCode()
        | Num x -> x.GetHashCode()
        | Int i -> i.GetHashCode() + 7
        | Un(op, x) -> hash (hash op, x.GetHashCode())
        | Bin(op, x, y) -> hash (hash op, x.GetHashCode(), y.GetHashCode())
        | If(c, x, y) -> hash (c.GetHashCode(), x.GetHashCode(), y.GetHashCode())

    static member private Same(a, b) =
        match a, b with
        | Arg i, Arg j -> i = j
        | Var x, Var y -> x = y
        | Num x, Num y -> x.Equals y
        | Int x, Int y -> x = y
        | Un(o, x), Un(p, y) -> o = p && x.Equals y
        | Bin(o, x, y), Bin(p, z, w) -> o = p && x.Equals z && y.Equals w
        | If(c, x, y), If(d, z, w) -> c.Equals d && x.Equals z && y.Equals w
        | _ -> false

    interface System.IComparable with
        member this.CompareTo other = compare (string this) (string other)

    static member (+)(a: Scalar, b: Scalar) = Bin(Add, a, b)
    static member (-)(a: Scalar, b: Scalar) = Bin(Sub, a, b)
    static member (*)(a: Scalar, b: Scalar) = Bin(Mul, a, b)
    static member (/)(a: Scalar, b: Scalar) = Bin(Div, a, b)
    static member (~-)(a: Scalar) = Un(Neg, a)

[<RequireQualifiedAccess>]
module Scalar =
    /// Replaces operands and variables.
    let rec substitute (arg: int -> Scalar) (var: string -> Scalar) scalar =
        let again = substitute arg var

        match scalar with
        | Arg i -> arg i
        | Var name -> var name
        | Num _
        | Int _ -> scalar
        | Un(op, x) -> Un(op, again x)
        | Bin(op, x, y) -> Bin(op, again x, again y)
        | If(c, x, y) -> If(again c, again x, again y)

    let mapArgs f scalar = substitute f Var scalar

    /// The operands that occur, sorted, each once.
    let args scalar =
        let rec go found scalar =
            match scalar with
            | Arg i -> Set.add i found
            | Var _
            | Num _
            | Int _ -> found
            | Un(_, x) -> go found x
            | Bin(_, x, y) -> go (go found x) y
            | If(c, x, y) -> go (go (go found c) x) y

        go Set.empty scalar |> Set.toList

    let private fold (op: Binary) x y =
        match op with
        | Add -> Some(x + y)
        | Sub -> Some(x - y)
        | Mul -> Some(x * y)
        | Div -> Some(x / y)
        | Min -> Some(min x y)
        | Max -> Some(max x y)
        | _ -> None

    /// One level of algebra: constants folded, neutral elements gone. Exact in IEEE arithmetic but for the sign of zero
    /// and x * 0, which is taken as 0.
    let simplify scalar =
        match scalar with
        | Bin(op, Num x, Num y) ->
            match fold op x y with
            | Some z -> Num z
            | None -> scalar
        | Bin(Add, Num 0.0, x)
        | Bin(Add, x, Num 0.0)
        | Bin(Sub, x, Num 0.0)
        | Bin(Mul, Num 1.0, x)
        | Bin(Mul, x, Num 1.0)
        | Bin(Div, x, Num 1.0)
        | Bin(Add, Int 0L, x)
        | Bin(Add, x, Int 0L)
        | Bin(Mul, Int 1L, x)
        | Bin(Mul, x, Int 1L) -> x
        | Bin(Mul, Num 0.0, _)
        | Bin(Mul, _, Num 0.0)
        | Bin(Div, Num 0.0, _) -> Num 0.0
        | Bin(Mul, Num -1.0, x)
        | Bin(Mul, x, Num -1.0)
        | Bin(Sub, Num 0.0, x) -> Un(Neg, x)
        | Bin(Add, x, Un(Neg, y)) -> Bin(Sub, x, y)
        | Un(Neg, Num x) -> Num(-x)
        | Un(Neg, Un(Neg, x)) -> x
        | Un(ToFloat, Int i) -> Num(float i)
        | If(_, x, y) when x.Equals y -> x
        | _ -> scalar

    /// Algebra throughout, from the leaves up.
    let rec normalise scalar =
        match scalar with
        | Un(op, x) -> simplify (Un(op, normalise x))
        | Bin(op, x, y) -> simplify (Bin(op, normalise x, normalise y))
        | If(c, x, y) -> simplify (If(normalise c, normalise x, normalise y))
        | _ -> scalar

    /// The partial derivative with respect to the leaf that `isVariable` picks. Integer and boolean parts have none.
    let rec derivative (isVariable: Scalar -> bool) scalar =
        let d = derivative isVariable

        if isVariable scalar then
            Num 1.0
        else
            match scalar with
            | Arg _
            | Var _
            | Num _
            | Int _ -> Num 0.0
            | Un(op, x) ->
                let dx = d x

                if dx = Num 0.0 then
                    Num 0.0
                else
                    match op with
                    | Neg -> -dx
                    | Abs -> If(Bin(Less, x, Num 0.0), -dx, dx)
                    | Exp -> dx * scalar
                    | Log -> dx / x
                    | Sqrt -> dx * Num 0.5 / scalar
                    | Rsqrt -> dx * Num -0.5 * (scalar * (scalar * scalar))
                    | Tanh -> dx * (Num 1.0 - scalar * scalar)
                    | Sin -> dx * Un(Cos, x)
                    | Cos -> -(dx * Un(Sin, x))
                    | Erf -> dx * Num(2.0 / sqrt System.Math.PI) * Un(Exp, -(x * x))
                    | Not
                    | ToFloat
                    | IsFinite
                    | Detach -> Num 0.0
            | Bin(op, x, y) ->
                match op with
                | Add -> d x + d y
                | Sub -> d x - d y
                | Mul -> d x * y + x * d y
                | Div -> d x / y - (scalar / y) * d y
                | Min -> If(Bin(Less, y, x), d y, d x)
                | Max -> If(Bin(Less, x, y), d y, d x)
                | Rem
                | Less
                | LessOrEqual
                | Equal
                | And
                | Or
                | UniformAt -> Num 0.0
            | If(c, x, y) -> If(c, d x, d y)
            |> normalise
