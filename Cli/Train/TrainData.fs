/// What a model is trained on: text, its tokenizer, and the tokens.
module Legato.Cli.TrainData

open System
open System.IO
open System.Threading
open System.Threading.Tasks
open Legato.Cli.TrainOptions
open Legato.Runtime
open Legato.Runtime.Data
open Legato.Runtime.Text
open Legato.Runtime.Text.Chat
open Legato.Runtime.Text.Training
open Legato.Runtime.Training

[<RequireQualifiedAccess>]
type Text =
    /// The stories and sums that Legato writes itself.
    | BuiltIn of string
    | Files of TextFiles
    | Chats of Conversations

/// Of the built-in corpus, in characters: more than the main job reads, so that it sees nearly nothing twice.
let private corpusLength = 4_000_000

/// Of all tokens, the share that evaluations read and training doesn't.
let private heldOutShare = 0.02

// The text of a run that goes on may have moved meanwhile.
let private whereItLies (options: TrainOptions) (find: string list -> 'T) =
    try
        find options.Data
    with :? LegatoException as mistake when not options.Start.IsFresh ->
        let remedy = $"{mistake.Remedy}; if it has moved, give --data with where it lies now"
        raise (LegatoException(mistake.What, mistake.Where, remedy, mistake))

/// Finds the text and reads it through once, so that a file that is no text is refused before anything is written.
/// <exception cref="LegatoException">A file is missing, empty, no text, or no conversations.</exception>
let find (options: TrainOptions) : Text =
    if options.Data.IsEmpty then
        Text.BuiltIn(Corpus.Write(int64 options.Seed, corpusLength))
    elif List.exists Conversations.IsNamed options.Data then
        let chats = whereItLies options Conversations.Find
        chats.ForEach ignore
        Text.Chats chats
    else
        let files = whereItLies options TextFiles.Find

        for path in files.Paths do
            TextFiles.ForEachPiece(path, TextFiles.PieceReader(fun _ -> ()))

        Text.Files files

/// Whether the documents of a sequence don't see each other: conversations never do.
let isPacked (options: TrainOptions) text =
    match text with
    | Text.Chats _ -> true
    | Text.BuiltIn _
    | Text.Files _ -> options.Pack

let private templates (options: TrainOptions) = options.ChatTemplate |> Option.map ChatTemplates.Load |> Option.toObj

// Conversations as they are written, for a tokenizer that learns from them.
let private written options (chats: Conversations) =
    match templates options with
    | null ->
        let what = "a tokenizer that learns from conversations needs to know how they are written"
        raise (LegatoException(what, "--data", "give --chat-template, or a tokenizer that has a template"))
    | templates ->
        let texts = ResizeArray<string>()
        chats.ForEach(fun chat -> texts.Add(templates.Render(chat).Text))
        texts :> string seq

let private pieces options text =
    match text with
    | Text.Chats chats -> written options chats
    | Text.BuiltIn corpus -> Seq.singleton corpus
    | Text.Files files -> TextInput.sources (List.ofSeq files.Paths) |> Seq.collect TextInput.pieces

// A separator of several characters is to be one token.
let private separators (options: TrainOptions) =
    options.Separator |> Option.filter (fun token -> token.Length > 1) |> Option.toList

let private learn kind options text =
    // A character that occurs once is still to be read.
    let training =
        TokenizerTrainingOptions(
            VocabularySize = options.Vocabulary,
            MinimumFrequency = 1,
            SpecialTokens = Array.ofList (TrainObjective.tokens options.Objective @ separators options)
        )

    TokenizerTrainer.Train(kind, pieces options text, training)

let private characters options text = learn TokenizerKind.Character { options with Vocabulary = 1 <<< 16 } text

/// The tokenizer that a checkpoint's folder holds, of whatever kind, if any.
/// <exception cref="LegatoException">It is damaged, or there are several.</exception>
let own (folder: string) = if Tokenizer.IsIn folder then Some(Tokenizer.Load folder) else None

// Weights speak the tokens of one vocabulary; another one is only taken where it is asked for.
let private required folder =
    match own folder with
    | Some tokenizer ->
        TrainingState.RequireTokenizer(folder, tokenizer)
        tokenizer
    | None ->
        let remedy = "give the one that its weights were trained with: --tokenizer PATH"
        raise (LegatoException("the checkpoint holds no tokenizer", folder, remedy))

/// The tokenizer that the options ask for, learned from the text where it is to be; elsewhere it doesn't wait for the text.
/// <param name="checkpoint">The folder that training starts or goes on from.</param>
/// <exception cref="LegatoException">The checkpoint has no tokenizer, or not the one that it was trained with.</exception>
let tokenizer (options: TrainOptions) (checkpoint: string option) (text: unit -> Text) : Tokenizer =
    match options.Tokenizer with
    | TokenizerSource.Own ->
        match checkpoint with
        | Some folder -> required folder
        | None -> characters options (text ())
    | TokenizerSource.Characters -> characters options (text ())
    | TokenizerSource.Bytes -> learn TokenizerKind.Byte options (text ())
    | TokenizerSource.BytePairs -> learn TokenizerKind.BytePair options (text ())
    | TokenizerSource.Saved path -> Tokenizer.Load(ModelSource.tokenizerOf path)

/// The tokens that end a document beside those of a file's end; None: documents aren't told apart.
let private ends (options: TrainOptions) (tokenizer: Tokenizer) : int[] option =
    let idOf (separator: string) =
        match Option.ofNullable (tokenizer.IdOf separator), tokenizer.EncodeIds separator with
        | Some id, _
        | None, [| id |] -> id
        | None, ids ->
            let what = $"the separator is {ids.Length} tokens of the tokenizer"
            raise (LegatoException(what, "--separator", "give one that is a single token"))

    if options.Pack then
        Some(options.Separator |> Option.map idOf |> Option.toArray)
    else
        None

let private requireSeveral (documents: int64) =
    if documents < 2L then
        let remedy = "give several files, or what ends a document: --separator TOKEN"
        raise (LegatoException("the text is one document; there is nothing to keep apart", "--pack", remedy))

let private requireAnswers (told: int64) =
    if told = 0L then
        let remedy = "give conversations with messages of the role 'assistant'"
        raise (LegatoException("the conversations hold nothing that the assistant said", "--data", remedy))

let private builtIn options (corpus: string) (tokenizer: Tokenizer) =
    let tokens = tokenizer.EncodeIds corpus

    match ends options tokenizer with
    | None -> ()
    | Some ends ->
        let mutable begins = true
        TokenMarks.MarkDocuments(tokens, ends, &begins) |> int64 |> requireSeveral

    TokenData.Of(tokens, tokenizer.VocabularySize, tokenizer.Hash)

let private requireTemplate options (tokenizer: Tokenizer) =
    if options.ChatTemplate.IsNone && tokenizer.ChatTemplates.Count = 0 then
        let place =
            match options.Tokenizer with
            | TokenizerSource.Saved path -> path
            | _ -> options.Model

        let remedy =
            "say how conversations are written: --chat-template PATH, of a Jinja file or of a folder that holds one"

        raise (LegatoException("the tokenizer has no chat template", place, remedy))

let private write options (path: string) (tokenizer: Tokenizer) text cancellation =
    match text with
    | Text.Chats chats ->
        requireTemplate options tokenizer
        TokenFile.Write(path, chats, tokenizer, templates options, cancellation) |> requireAnswers
    | Text.Files files ->
        let ends = ends options tokenizer
        let documents = TokenFile.Write(path, files, tokenizer, Option.toObj ends, cancellation)

        if ends.IsSome then
            requireSeveral documents
    | Text.BuiltIn _ -> ()

/// More files than that are counted.
let private mostNamed = 3

let private named (paths: string list) =
    let first = paths |> List.truncate mostNamed |> String.concat ", "

    if paths.Length > mostNamed then
        $"{first} and {paths.Length - mostNamed} more"
    else
        first

let private make options (run: RunFolder) (tokenizer: Tokenizer) text cancellation =
    let ofFiles paths =
        let path, source = Runs.tokensFile run.Path, named options.Data

        if File.Exists path then
            TokenData.OpenVerified(path, paths, source)
        else
            write options path tokenizer text cancellation
            TokenData.Open(path, source)

    match text with
    | Text.BuiltIn corpus -> builtIn options corpus tokenizer
    | Text.Files files -> ofFiles files.Paths
    | Text.Chats chats -> ofFiles chats.Paths

/// The tokens of a text, made in the background. Disposing of them ends that, and waits until nothing is written any more.
type Tokens internal (make: CancellationToken -> TokenData) =
    let cancellation = new CancellationTokenSource()

    let made =
        Task.Run(fun () ->
            let tokens = make cancellation.Token
            Timeline.Mark "text tokenized"
            tokens)

    /// <exception cref="LegatoException">The text can't be read, or is not what the options take it for.</exception>
    member _.Made = made.GetAwaiter().GetResult()

    interface IDisposable with
        member _.Dispose() =
            cancellation.Cancel()
            Task.WaitAny made |> ignore

            if made.IsCompletedSuccessfully then
                made.Result.Dispose()

            cancellation.Dispose()

/// Begins to make the tokens of the text. Those of files stay in the run's folder, where a resumed run finds them.
let tokens options run tokenizer text = new Tokens(make options run tokenizer text)

/// What is trained on, and what is held out: nothing, where evaluations are not asked for or would have less to read than
/// the window of a row.
let split (options: TrainOptions) (window: int) (data: TokenData) : struct (TokenRange * TokenRange) =
    let whole = TokenRange.Split(data, heldOutShare)
    let struct (_, heldOut) = whole

    if options.EvaluateEvery > 0 && heldOut.Length >= int64 window then
        whole
    else
        TokenRange.Split(data, 0.0)
