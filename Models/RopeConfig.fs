/// Rotary positions as configs describe them.
[<RequireQualifiedAccess>]
module Legato.Models.RopeConfig

open Legato.Dsl

/// What a family takes where its config says nothing.
type Defaults = {
    Theta: float
    /// The share of a head's features that is turned.
    Turned: float
    Interleaved: bool
}

/// All features, as halves, at the wavelengths of Su et al. 2021.
let plain = { Theta = 10000.0; Turned = 1.0; Interleaved = false }

let private number key json = Config.tryFloat [ key ] json |> Config.required [ key ]

let private positive key value =
    if value > 0.0 && value < infinity then
        value
    else
        Config.fail $"rotary positions can't be stretched by {value}" key "give a number above 0"

let private factorOf json = number "factor" json |> positive "factor"
let private logarithmic weight growth = if growth <= 1.0 then 1.0 else 0.1 * weight * log growth + 1.0

// Peng et al. 2023, section 3.4; DeepSeek weighs it in cosines and sines, and again in the scores' scale.
let private yarnMagnitude factor json =
    match Config.tryFloat [ "attention_factor" ] json with
    | Some given -> given
    | None ->
        match Config.tryFloat [ "mscale" ] json, Config.tryFloat [ "mscale_all_dim" ] json with
        | Some one, Some all when one <> 0.0 && all <> 0.0 -> logarithmic one factor / logarithmic all factor
        | _ -> logarithmic 1.0 factor

let private yarn (context: int) json =
    let trained = Config.intOr context [ "original_max_position_embeddings" ] json
    let factor = Config.floatOr (float context / float trained) [ "factor" ] json |> positive "factor"

    Yarn {
        Factor = factor
        Fast = Config.floatOr 32.0 [ "beta_fast" ] json
        Slow = Config.floatOr 1.0 [ "beta_slow" ] json
        Trained = trained
        Rounded = Config.boolOr true [ "truncate" ] json
        Magnitude = yarnMagnitude factor json
    }

// Within the trained context the short divisors hold; the model's context is cut to it.
let private longRope (context: int) trained json =
    let growth = float context / float trained

    let magnitude =
        match Config.tryFloat [ "attention_factor" ] json with
        | Some given -> given
        | None -> if growth <= 1.0 then 1.0 else sqrt (1.0 + log growth / log (float trained))

    LongRope(Config.tryFloats [ "short_factor" ] json |> Config.required [ "short_factor" ], magnitude)

let private scaling (context: int) trained json =
    match Config.stringOr "default" [ "rope_type"; "type" ] json with
    | "default" -> Unscaled
    | "linear" -> Linear(factorOf json)
    | "dynamic" -> DynamicNtk(factorOf json, trained, context)
    | "llama3" -> Llama3(factorOf json, number "low_freq_factor" json, number "high_freq_factor" json, trained)
    | "yarn" -> yarn context json
    | "longrope"
    | "su" -> longRope context trained json
    | other ->
        Config.fail
            $"the rope type '{other}' is not known"
            "rope_type"
            "use default, linear, dynamic, llama3, yarn or longrope"

let private thetas = [ "rope_theta"; "rotary_emb_base" ]

// Its powers are the wavelengths.
let private theta json =
    match Config.tryFloat thetas json with
    | Some base' when not (base' > 0.0 && base' < infinity) ->
        Config.fail $"rotary positions can't have a base of {base'}" thetas.Head "give a number above 0, such as 10000"
    | found -> found

let private originalContext = [ "original_max_position_embeddings" ]
let private shares = [ "partial_rotary_factor"; "rotary_pct" ]

/// The longest context that the positions serve: LongRoPE's divisors change beyond the trained one.
let contextOf (context: Axis<Context>) json : Axis<Context> =
    let section = Config.section [ "rope_parameters"; "rope_scaling" ] json
    let kind = section |> Option.bind (Config.tryString [ "rope_type"; "type" ])

    match
        kind,
        Option.orElse (Config.tryInt originalContext json) (section |> Option.bind (Config.tryInt originalContext))
    with
    | (Some "longrope" | Some "su"), Some trained -> axis (min trained context.Size)
    | _ -> context

/// Rotary positions from the section that holds them, where there is one: rope_parameters as newer configs have it, or
/// rope_scaling beside rope_theta as older ones do.
let ofSection section (defaults: Defaults) (context: Axis<Context>) (headDim: Axis<HeadDim>) json : Rope =
    let found read = section |> Option.bind read |> Option.orElseWith (fun () -> read json)
    let inner keys read = found (read keys)
    let turned = inner shares Config.tryFloat |> Option.defaultValue defaults.Turned
    let rotary = int (turned * float headDim.Size)
    let trained = inner originalContext Config.tryInt |> Option.defaultValue context.Size

    {
        Theta = found theta |> Option.defaultValue defaults.Theta
        Scaling = section |> Option.map (scaling context.Size trained) |> Option.defaultValue Unscaled
        Rotary = if rotary = headDim.Size then None else Some rotary
        Interleaved = defaults.Interleaved
    }

/// The rotary positions of all layers.
let read defaults context headDim json =
    ofSection (Config.section [ "rope_parameters"; "rope_scaling" ] json) defaults context headDim json
