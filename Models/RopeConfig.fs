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
    /// The key of a head's size.
    Head: string
}

/// All features, as halves, at the wavelengths of Su et al. 2021.
let plain = { Theta = 10000.0; Turned = 1.0; Interleaved = false; Head = "head_dim" }

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

let private kinds = [ "rope_type"; "type" ]

let private scaling (context: int) trained json =
    match Config.textUnder kinds json with
    | None
    | Some(_, "default") -> Unscaled
    | Some(_, "linear") -> Linear(factorOf json)
    | Some(_, "dynamic") -> DynamicNtk(factorOf json, trained, context)
    | Some(_, "llama3") -> Llama3(factorOf json, number "low_freq_factor" json, number "high_freq_factor" json, trained)
    | Some(_, "yarn") -> yarn context json
    | Some(_, "longrope")
    | Some(_, "su") -> longRope context trained json
    | Some(key, other) ->
        Config.fail $"the rope type '{other}' is not known" key "use default, linear, dynamic, llama3, yarn or longrope"

let private thetas = [ "rope_theta"; "rotary_emb_base" ]

// Its powers are the wavelengths.
let private theta json =
    match Config.tryFloat thetas json with
    | Some base' when not (base' > 0.0 && base' < infinity) ->
        Config.fail $"rotary positions can't have a base of {base'}" thetas.Head "give a number above 0, such as 10000"
    | found -> found

let private originalContext = [ "original_max_position_embeddings" ]
let private shares = [ "partial_rotary_factor"; "rotary_pct" ]

// Features are turned in pairs. What is wrong is told of the key that says how many.
let private rotaryOf (defaults: Defaults) (headDim: Axis<HeadDim>) share (json: ConfigJson) =
    let rotary = int (Option.defaultValue defaults.Turned share * float headDim.Size)

    if rotary % 2 <> 0 || rotary < 2 || rotary > headDim.Size then
        let key =
            if share.IsSome then
                shares.Head
            else
                defaults.Head :: Config.widths |> List.find json.Json.ContainsKey

        Config.fail
            $"rotary positions can't turn {rotary} of a head's {headDim.Size} features"
            key
            "turn an even number, at most the head's size"

    rotary

/// The longest context that the positions serve: LongRoPE's divisors change beyond the trained one.
let contextOf (context: Axis<Context>) json : Axis<Context> =
    let section = Config.section [ "rope_parameters"; "rope_scaling" ] json
    let kind = section |> Option.bind (Config.tryString kinds)

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
    let rotary = rotaryOf defaults headDim (inner shares Config.tryFloat) json
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
