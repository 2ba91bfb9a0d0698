/// What training makes of text: the objective that flags name, with the tokens that it needs.
module Legato.Cli.TrainObjective

open Legato.Cli.TrainOptions
open Legato.Runtime
open Legato.Runtime.Data
open Legato.Runtime.Plans
open Legato.Runtime.Text

let private masks = [ "<mask>"; "[MASK]" ]
let private mostSentinels = 100
let private sentinel n = $"<extra_id_{n}>"

/// Prefix, suffix and middle, as published tokenizers spell them.
let private fillMarks = [
    [ "<|fim_prefix|>"; "<|fim_suffix|>"; "<|fim_middle|>" ]
    [ "<fim_prefix>"; "<fim_suffix>"; "<fim_middle>" ]
    [ "<PRE>"; "<SUF>"; "<MID>" ]
]

let private padding, private finish = "<pad>", "</s>"

/// Tokens that frame a text, which are never masked.
let private frames = [ "<s>"; "</s>"; "<pad>"; "[CLS]"; "[SEP]"; "[PAD]" ]

let private sentenceEnds = [ "."; "!"; "?"; "\n"; "Ċ" ]

/// The special tokens that a tokenizer is given that is trained for an objective.
let tokens objective : string list =
    match objective with
    | TrainingObjective.Causal -> []
    | TrainingObjective.Masked -> [ padding; masks.Head ]
    | TrainingObjective.Spans -> padding :: finish :: List.init 33 sentinel
    | TrainingObjective.Denoise -> [ padding; finish; masks.Head ]
    | TrainingObjective.Fim -> fillMarks.Head

let private word (objective: TrainingObjective) = $"--objective {objective.ToString().ToLowerInvariant()}"

let private lacking objective (names: string list) =
    let what = $"the tokenizer has no {List.head names}, which {word objective} needs"
    raise (LegatoException(what, "--tokenizer", "use one that has it, or let one be trained: --tokenizer bpe"))

let private ids (tokenizer: Tokenizer) (names: string list) = names |> List.choose (tokenizer.IdOf >> Option.ofNullable)

let private required objective (tokenizer: Tokenizer) names =
    match ids tokenizer names with
    | first :: _ -> first
    | [] -> lacking objective names

let private sentinels objective (tokenizer: Tokenizer) =
    let found = Seq.init mostSentinels sentinel |> Seq.map tokenizer.IdOf |> Seq.takeWhile _.HasValue

    match [| for id in found -> id.Value |] with
    | [||]
    | [| _ |] -> lacking objective [ sentinel 0; sentinel 1 ]
    | several -> several

let private fill objective (tokenizer: Tokenizer) rate =
    match fillMarks |> List.map (ids tokenizer) |> List.tryFind (fun marks -> marks.Length = 3) with
    | Some marks -> FillInTheMiddle(rate, 0.5, marks[0], marks[1], marks[2])
    | None -> lacking objective fillMarks.Head

let private separator objective (tokenizer: Tokenizer) =
    Option.ofNullable tokenizer.EndOfSequenceId
    |> Option.defaultWith (fun () -> required objective tokenizer [ finish ])

let private refuse objective (model: ModelDescription) needs does remedy =
    let what = $"{word objective} needs a model that {needs}, and {model.Name} {does}"
    raise (LegatoException(what, "--objective", remedy))

let private requireTask objective (model: ModelDescription) =
    match objective, model.Task with
    | TrainingObjective.Masked, ModelTask.MaskedLm -> ()
    | TrainingObjective.Masked, _ ->
        refuse
            objective
            model
            "reads in both directions"
            "doesn't"
            "use causal, spans, denoise or fim, or an encoder such as bert"
    | _, ModelTask.CausalLm
    | (TrainingObjective.Spans | TrainingObjective.Denoise), ModelTask.SequenceToSequence -> ()
    | _, ModelTask.SequenceToSequence ->
        refuse objective model "reads one text" "reads a source" "use --objective spans or denoise"
    | _, ModelTask.MaskedLm -> refuse objective model "tells what comes next" "fills gaps" "use --objective masked"
    | _ ->
        refuse objective model "tells what comes next" "doesn't" "train a decoder; other models can be run and verified"

// A decoder beside an encoder starts with a token of its own, and both their texts end.
let private framed (model: ModelDescription) (tokenizer: Tokenizer) (objective: SourceAndTarget) : Objective =
    if model.Task <> ModelTask.SequenceToSequence then
        objective
    elif model.BeginToken.HasValue then
        objective.Framed(model.BeginToken.Value, tokenizer.EndOfSequenceId)
    else
        let remedy = "set it: --set decoder_start_token_id=0"
        raise (LegatoException("the model has no token that a target starts with", model.Name, remedy))

/// The rows that a model reads of so many tokens each.
/// <exception cref="LegatoException">Packed rows of a model that reads a source and writes a target.</exception>
let rows (model: ModelDescription) (objective: Objective) isPacked (length: int) : RowShape =
    match objective with
    | :? SourceAndTarget when model.Task = ModelTask.SequenceToSequence && isPacked ->
        let what =
            $"{model.Name} reads a source and writes a target: their rows hold a document at different places, and attention from one to the other tells documents apart in neither"

        raise (LegatoException(what, "--pack", "leave --pack out, and train on plain text"))
    | :? SourceAndTarget as apart when model.Task = ModelTask.SequenceToSequence -> apart.Beside length
    | _ -> RowShape(length, 0, isPacked)

/// The objective, for a model and its tokenizer; rates are those of the papers where none is given.
/// <exception cref="LegatoException">The tokenizer lacks a token that it needs, or the model can't be trained so.</exception>
let find (options: TrainOptions) (model: ModelDescription) (tokenizer: Tokenizer) : Objective =
    let objective = options.Objective
    requireTask objective model
    let rate usual = Option.defaultValue usual options.ObjectiveRate

    match objective with
    | TrainingObjective.Causal -> Objective.Causal
    | TrainingObjective.Masked ->
        let mask = required objective tokenizer masks
        MaskedObjective(rate 0.15, mask, tokenizer.VocabularySize, Array.ofList (ids tokenizer frames))
    | TrainingObjective.Spans -> SpanCorruption(rate 0.15, 3.0, sentinels objective tokenizer) |> framed model tokenizer
    | TrainingObjective.Denoise ->
        let mask = required objective tokenizer masks
        let ends = Array.ofList (ids tokenizer sentenceEnds)
        Denoising(rate 0.3, 3.0, mask, separator objective tokenizer, ends) |> framed model tokenizer
    | TrainingObjective.Fim -> fill objective tokenizer (rate 0.5)
