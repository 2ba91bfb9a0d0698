/// The flag `--pattern` of verbs that read tokenizers: a rank file of one's own doesn't say how its text is cut.
module Legato.Cli.RankPattern

open Legato.Cli
open Legato.Runtime.Text

/// How text is cut into words before bytes are merged.
[<RequireQualifiedAccess>]
type Pattern =
    | Gpt2
    | Cl100k
    | Llama3
    | Qwen2
    | O200k

let usage = "whose pattern cuts text into words: rank files of unknown vocabularies only"

let ofName pattern =
    match pattern with
    | Pattern.Gpt2 -> SplitPattern.Gpt2
    | Pattern.Cl100k -> SplitPattern.Cl100k
    | Pattern.Llama3 -> SplitPattern.Llama3
    | Pattern.Qwen2 -> SplitPattern.Qwen2
    | Pattern.O200k -> SplitPattern.O200k

/// The tokenizer of a path; with a pattern, that of a rank file.
let load (pattern: Pattern option) path =
    let path = ModelSource.tokenizerOf path

    match pattern with
    | Some pattern -> Tokenizer.LoadRanks(path, ofName pattern)
    | None -> Tokenizer.Load path
