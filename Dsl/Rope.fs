namespace Legato.Dsl

/// YaRN's settings (Peng et al. 2023): wavelengths that turn more often than `fast` in the trained context stay,
/// those that turn less often than `slow` are stretched by the factor, with a ramp between.
type YarnScaling = {
    Factor: float
    Fast: float
    Slow: float
    /// The context that the model was trained for.
    Trained: int
    /// Whether the ramp's ends are rounded outward to whole pairs.
    Rounded: bool
    /// What cosines and sines are multiplied by.
    Magnitude: float
}

/// How rotary positions are stretched beyond the length that a model was trained for.
type RopeScaling =
    | Unscaled
    /// Positions divided by the factor (Chen et al. 2023).
    | Linear of factor: float
    /// A larger base for a context longer than the trained one ("NTK-aware", bloc97 2023), at its full length.
    | DynamicNtk of factor: float * trained: int * context: int
    /// Llama 3.1: long wavelengths divided by the factor, short ones kept, a smooth ramp between.
    | Llama3 of factor: float * lowFrequency: float * highFrequency: float * originalContext: int
    | Yarn of YarnScaling
    /// A divisor for each wavelength (Ding et al. 2024, LongRoPE), and what cosines and sines are multiplied by.
    | LongRope of divisors: float list * magnitude: float

/// Rotary position embedding (Su et al. 2021).
type Rope = {
    Theta: float
    Scaling: RopeScaling
    /// How many of a head's features are turned; None: all.
    Rotary: int option
    /// Pairs are neighbours (2i, 2i + 1), not halves (i, i + n/2).
    Interleaved: bool
}

[<RequireQualifiedAccess>]
module Rope =
    /// All features turned, as halves, at the wavelengths of this base.
    /// <exception cref="ModelError">The base has no powers: it isn't above 0.</exception>
    let ofTheta theta =
        if not (theta > 0.0 && theta < infinity) then
            raise (
                ModelError($"rotary positions can't have a base of {theta}", "Rope.ofTheta", "give a number above 0")
            )

        { Theta = theta; Scaling = Unscaled; Rotary = None; Interleaved = false }

    let private llama3 factor low high (original: int) f =
        let turns = float original * f / (2.0 * System.Math.PI)

        if turns < low then
            f / factor
        elif turns > high then
            f
        else
            let smooth = (turns - low) / (high - low)
            (1.0 - smooth) * f / factor + smooth * f

    // The pair that turns so often in the trained context (Peng et al. 2023, section 3.2).
    let private pairOf theta (rotary: float) (yarn: YarnScaling) turns =
        rotary * log (float yarn.Trained / (turns * 2.0 * System.Math.PI)) / (2.0 * log theta)

    let private yarnShare theta (rotary: float) (yarn: YarnScaling) =
        let ends = pairOf theta rotary yarn yarn.Fast, pairOf theta rotary yarn yarn.Slow
        let first, last = if yarn.Rounded then floor (fst ends), ceil (snd ends) else ends
        let first, last = max first 0.0, min last (rotary - 1.0)
        let width = if first = last then 0.001 else last - first
        fun i -> System.Math.Clamp((float i - first) / width, 0.0, 1.0)

    /// Wavelengths' inverse, one for each pair of the turned features.
    let frequencies (rope: Rope) (rotary: int) : float list =
        let size = float rotary
        let plain theta i = theta ** (-2.0 * float i / size)

        let frequency =
            match rope.Scaling with
            | Unscaled -> plain rope.Theta
            | Linear factor -> fun i -> plain rope.Theta i / factor
            | DynamicNtk(factor, trained, context) ->
                let growth = factor * float (max context trained) / float trained - (factor - 1.0)
                plain (rope.Theta * growth ** (size / (size - 2.0)))
            | Llama3(factor, low, high, original) -> plain rope.Theta >> llama3 factor low high original
            | Yarn yarn ->
                let share = yarnShare rope.Theta size yarn
                fun i -> plain rope.Theta i * (share i / yarn.Factor + 1.0 - share i)
            | LongRope(divisors, _) -> fun i -> plain rope.Theta i / divisors[i]

        List.init (rotary / 2) frequency

    /// What cosines and sines are multiplied by.
    let magnitude (rope: Rope) =
        match rope.Scaling with
        | Yarn yarn -> yarn.Magnitude
        | LongRope(_, magnitude) -> magnitude
        | Unscaled
        | Linear _
        | DynamicNtk _
        | Llama3 _ -> 1.0
