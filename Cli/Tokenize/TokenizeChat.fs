/// `legato tokenize chat`: chats to the text that a model is fed.
module Legato.Cli.TokenizeChat

open System
open System.Text.Json
open Argu
open Legato.Runtime
open Legato.Runtime.Text
open Legato.Runtime.Text.Chat

type TokenizeChatArgument =
    | [<MainCommand>] Input of file: string list
    | Template of file: string
    | Jsonl

    interface IArgParserTemplate with
        member argument.Usage =
            match argument with
            | Input _ ->
                "files with one chat each, a JSON object with 'messages', or folders of .json files (with --jsonl, .jsonl files) (default, and -: the standard input)"
            | Template _ ->
                "a model's folder, its tokenizer_config.json, a Jinja file, or a GGUF file; special tokens that a chat doesn't name are those of the configuration beside it"
            | Jsonl -> "take a chat a line; give {\"text\":…}, or {\"error\":…}, a line"

type TokenizeChatOptions = {
    /// Files; none: the standard input.
    Inputs: string list
    Template: string
    JsonLines: bool
}

let private defaults = { Inputs = []; Template = ""; JsonLines = false }

let private where = "legato tokenize chat"

let private apply options argument =
    match argument with
    | Input paths -> { options with Inputs = options.Inputs @ paths }
    | Template path -> { options with Template = path }
    | Jsonl -> { options with JsonLines = true }

let options (given: ParseResults<TokenizeChatArgument>) : Result<TokenizeChatOptions, LegatoException list> =
    Arguments.options where apply defaults (fun _ options -> [ Limits.given "--template" options.Template ]) given

let private chat source =
    try
        JsonDocument.Parse(TextInput.whole source)
    with :? JsonException as error ->
        let what = $"this is no well-formed JSON from {Formats.JsonPlace.Of error} on"

        raise (
            LegatoException(what, source.Name, "write one chat as a JSON object; for one a line, give --jsonl", error)
        )

let private render (templates: ChatTemplates) source =
    use chat = chat source
    TextInput.within source (fun () -> templates.Render(ChatRequest.FromJson chat.RootElement).Text)

let run options =
    let templates = ChatTemplates.Load(ModelSource.tokenizerOf options.Template)

    if options.JsonLines then
        JsonLines.answer options.Inputs (fun lines output -> TokenizerLines.Chat(templates, lines, output))
    else
        for source in TextInput.sourcesOf ".json" options.Inputs do
            Console.Write(render templates source)

        0
