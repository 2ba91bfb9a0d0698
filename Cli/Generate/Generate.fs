/// `legato generate`: a model goes on from a prompt.
module Legato.Cli.Generate

open Argu
open Legato.Cli.Repeatable
open Legato.Runtime

type GenerateArgument =
    | [<MainCommand>] Model of model: string
    | Prompt of text: string
    | Prompt_File of file: string
    | Max_Tokens of tokens: int
    | Temperature of temperature: float
    | Top_K of tokens: int
    | Top_P of share: float
    | Greedy
    | Seed of seed: uint64
    | [<Repeatable>] Stop of text: string
    | Samples of samples: int
    | Device of Device
    | Precision of Precision
    | Threads of threads: int
    | No_Pin
    | Config of file: string
    | Json

    interface IArgParserTemplate with
        member argument.Usage =
            match argument with
            | Model _ -> "a checkpoint folder, a run folder or a GGUF file"
            | Prompt _ -> "the text to go on from (default: none, the model begins)"
            | Prompt_File _ -> "a file with the text to go on from"
            | Max_Tokens _ -> "how many tokens to add at most (default: 200, or what the context has room for)"
            | Temperature _ -> "how freely to choose: 0 is greedy (default: 0.8)"
            | Top_K _ -> "choose among this many most likely tokens (default: all)"
            | Top_P _ -> "choose among the likeliest tokens that together have this share (default: 1)"
            | Greedy -> "always the likeliest token"
            | Seed _ -> "where the choices come from; the same seed gives the same text (default: a new one)"
            | Stop _ -> "a text that ends the generation, not printed itself; give the flag for each"
            | Samples _ -> "how many texts to generate (default: 1)"
            | Device _ -> "where to run (default: cuda where there is a GPU, else cpu)"
            | Precision _ -> "the type to hold the weights in (default: fp32)"
            | Threads _ -> "worker threads (default: one a core)"
            | No_Pin -> "don't pin the worker threads to cores"
            | Config _ -> "a JSON file of settings, keyed by these flags' names; flags given here win"
            | Json -> "print one JSON document with text, tokens and timings"

[<RequireQualifiedAccess>]
type Prompt =
    | Text of string
    | File of path: string

type GenerateOptions = {
    Model: string
    Prompt: Prompt
    /// None: 200, or what the context has room for.
    MaxTokens: int option
    /// 0: greedy.
    Temperature: float
    /// None: all tokens.
    TopK: int option
    TopP: float
    /// None: a new one each time.
    Seed: uint64 option
    Stop: string list
    Samples: int
    /// None: the GPU where there is one.
    Device: Device option
    Precision: Precision
    /// None: one a core.
    Threads: int option
    Pin: bool
    Json: bool
}

let private defaults = {
    Model = ""
    Prompt = Prompt.Text ""
    MaxTokens = None
    Temperature = 0.8
    TopK = None
    TopP = 1.0
    Seed = None
    Stop = []
    Samples = 1
    Device = None
    Precision = Precision.Fp32
    Threads = None
    Pin = true
    Json = false
}

let private where = "legato generate"

let private apply options argument =
    match argument with
    | Model name -> { options with Model = name }
    | Prompt text -> { options with Prompt = Prompt.Text text }
    | Prompt_File path -> { options with Prompt = Prompt.File path }
    | Max_Tokens tokens -> { options with MaxTokens = Some tokens }
    | Temperature temperature -> { options with Temperature = temperature }
    | Top_K tokens -> { options with TopK = Some tokens }
    | Top_P share -> { options with TopP = share }
    | Greedy -> { options with Temperature = 0.0 }
    | Seed seed -> { options with Seed = Some seed }
    | Stop text -> { options with Stop = options.Stop @ [ text ] }
    | Samples samples -> { options with Samples = samples }
    | Device device -> { options with Device = Some device }
    | Precision precision -> { options with Precision = precision }
    | Threads threads -> { options with Threads = Some threads }
    | No_Pin -> { options with Pin = false }
    | Json -> { options with Json = true }
    | Config _ -> options

/// All texts are kept until the last is written.
let private mostSamples = 1 <<< 16

let private stops (texts: string list) where =
    if List.contains "" texts then
        Some(Mistake.at where "give a text to stop at, or leave --stop out" "--stop is given an empty text")
    else
        None

let private checks (arguments: GenerateArgument list) options =
    let given (holds: GenerateArgument -> bool) = List.exists holds arguments

    [
        Limits.given "MODEL" options.Model
        Limits.notBoth ("--prompt", given _.IsPrompt) ("--prompt-file", given _.IsPrompt_File)
        Limits.notBoth ("--greedy", given _.IsGreedy) ("--temperature", given _.IsTemperature)
        Limits.optional (Limits.atLeast 1) "--max-tokens" options.MaxTokens
        Limits.notNegative "--temperature" options.Temperature
        Limits.optional (Limits.atLeast 1) "--top-k" options.TopK
        Limits.single "--temperature" options.Temperature
        Limits.above 0.0 "--top-p" options.TopP
        if options.TopP > 0.0 then
            Limits.within (0.0, 1.0) "--top-p" options.TopP
        Limits.single "--top-p" options.TopP
        stops options.Stop
        Limits.upTo mostSamples "--samples" options.Samples
        Limits.optional Limits.threads "--threads" options.Threads
    ]

/// The generation that a command line asks for; or everything that is wrong with it.
let options (given: ParseResults<GenerateArgument>) : Result<GenerateOptions, LegatoException list> =
    Arguments.options where apply defaults checks given
