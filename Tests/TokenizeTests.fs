/// `legato tokenize` as a user and as a program run it.
module Legato.Tests.TokenizeTests

open System
open System.IO
open System.IO.Compression
open System.Text.Json
open NUnit.Framework

/// A folder for the length of a test.
let private inFolder (work: string -> unit) =
    let folder = Directory.CreateTempSubdirectory "legato-tokenize-"

    try
        work folder.FullName
    finally
        folder.Delete true

let private write folder name (text: string) =
    let path = Path.Combine(folder, name)
    File.WriteAllText(path, text)
    path

let private corpus =
    String.replicate 40 "The cat sat on the mat.\r\nThe dog sat by the cat: 12 + 7 = 19 🦙\n"

let private succeed words =
    let outcome = Invocation.legato words
    Assert.That(outcome.ExitCode, Is.Zero, outcome.Errors)
    outcome.Output

/// A tokenizer of this kind, trained on the corpus.
let private train folder kind =
    let text = write folder "corpus.txt" corpus
    let out = Path.Combine(folder, kind)
    let size = if kind = "bytes" then [] else [ "--vocab"; "300" ]

    succeed ([ "tokenize"; "train"; text; "--kind"; kind; "--out"; out; "--special"; "<end>" ] @ size)
    |> ignore

    out

[<TestCase "bpe">]
[<TestCase "char">]
[<TestCase "bytes">]
let ``a text comes back from its ids`` (kind: string) =
    inFolder (fun folder ->
        let tokenizer = train folder kind
        let text = "The cat sat: 9 🦙\r\n<end>" |> _.Replace("<end>", if kind = "char" then "" else "<end>")
        let ids = succeed [ "tokenize"; "encode"; write folder "text.txt" text; "--tokenizer"; tokenizer ]
        let back = succeed [ "tokenize"; "decode"; write folder "ids.txt" ids; "--tokenizer"; tokenizer ]
        Assert.That(back, Is.EqualTo text))

[<Test>]
let ``a byte order mark before a text isn't encoded, one further on is`` () =
    inFolder (fun folder ->
        let tokenizer = train folder "bytes"
        let ids name text = succeed [ "tokenize"; "encode"; write folder name text; "--tokenizer"; tokenizer ]
        Assert.That(ids "marked.txt" "\uFEFFThe cat", Is.EqualTo(ids "plain.txt" "The cat"))
        let inner = write folder "inner.txt" (ids "later.txt" "The\uFEFF cat")
        Assert.That(succeed [ "tokenize"; "decode"; inner; "--tokenizer"; tokenizer ], Is.EqualTo "The\uFEFF cat"))

[<Test>]
let ``programs read ids and offsets in characters, and give ids back`` () =
    inFolder (fun folder ->
        let tokenizer = train folder "bytes"
        let lines = write folder "texts.jsonl" "\"🦙a\"\n\"\"\n"
        let encoded = succeed [ "tokenize"; "encode"; lines; "--tokenizer"; tokenizer; "--jsonl" ]
        let rows = encoded.TrimEnd().Split('\n') |> Array.map (fun line -> JsonDocument.Parse(line).RootElement)
        let numbers (row: JsonElement) (name: string) = row.GetProperty(name).ToString()

        Assert.That(numbers rows[0] "offsets", Is.EqualTo "[[0,1],[0,1],[0,1],[0,1],[1,2]]")
        Assert.That(numbers rows[1] "ids", Is.EqualTo "[]")

        let ids = write folder "ids.jsonl" (numbers rows[0] "ids")
        let decoded = succeed [ "tokenize"; "decode"; ids; "--tokenizer"; tokenizer; "--jsonl" ]
        Assert.That(JsonSerializer.Deserialize<string> decoded, Is.EqualTo "🦙a"))

[<Test>]
let ``a special token in a text is text, unless asked for`` () =
    inFolder (fun folder ->
        let tokenizer = train folder "bpe"
        let text = write folder "text.txt" "<end>"
        let encode more = (succeed ([ "tokenize"; "encode"; text; "--tokenizer"; tokenizer ] @ more)).Trim()
        Assert.That(encode [ "--allow-special" ], Is.EqualTo "0")
        Assert.That(encode [], Does.Contain " ")

        let line = write folder "text.jsonl" "\"<end>\""

        let ids more =
            succeed ([ "tokenize"; "encode"; line; "--jsonl"; "--tokenizer"; tokenizer ] @ more)
            |> JsonDocument.Parse
            |> _.RootElement.GetProperty("ids").GetArrayLength()

        Assert.That(ids [], Is.EqualTo 1)
        Assert.That(ids [ "--forbid-special" ], Is.GreaterThan 1))

[<Test>]
let ``stats compare tokenizers on each text and on all`` () =
    inFolder (fun folder ->
        let bpe, bytes = train folder "bpe", train folder "bytes"
        let text, other = write folder "text.txt" corpus, write folder "other.txt" "The cat"

        let rows =
            succeed [ "tokenize"; "stats"; "--tokenizer"; bpe; "--tokenizer"; bytes; text; other; "--json" ]
            |> JsonDocument.Parse
            |> _.RootElement.EnumerateArray()
            |> List.ofSeq

        let figure (name: string) (row: JsonElement) = row.GetProperty(name).GetDouble()
        Assert.That(rows |> List.forall _.GetProperty("is_exact").GetBoolean(), Is.True)
        Assert.That(rows |> List.map (figure "bytes"), Has.Exactly(2).EqualTo(7.0))
        Assert.That(figure "bytes_per_token" rows[1], Is.EqualTo 1.0)
        Assert.That(figure "bytes_per_token" rows[0], Is.GreaterThan 2.0)
        Assert.That(rows[4].GetProperty("group").GetString(), Is.EqualTo "all")
        Assert.That(figure "tokens" rows[4], Is.EqualTo(figure "tokens" rows[0] + figure "tokens" rows[2])))

[<TestCase "word-bpe">]
[<TestCase "wordpiece">]
[<TestCase "unigram">]
let ``words come back from the ids of vocabularies of words`` (kind: string) =
    inFolder (fun folder ->
        let tokenizer = train folder kind

        let ids =
            succeed [
                "tokenize"
                "encode"
                write folder "text.txt" "the dog sat by the cat"
                "--tokenizer"
                tokenizer
            ]

        let back = succeed [ "tokenize"; "decode"; write folder "ids.txt" ids; "--tokenizer"; tokenizer ]
        Assert.That(back.Trim(), Is.EqualTo "the dog sat by the cat"))

[<TestCase("char", "--digits", "single")>]
[<TestCase("unigram", "--pattern", "gpt2")>]
[<TestCase("bpe", "--alphabet", "100")>]
let ``a flag that a kind doesn't read is refused`` (kind: string) (flag: string) (value: string) =
    let outcome = Invocation.legato [ "tokenize"; "train"; "--kind"; kind; "--out"; "nowhere"; flag; value ]
    Assert.That(outcome.ExitCode, Is.EqualTo 2)
    Assert.That(outcome.Errors, Does.Contain $"{flag} means nothing with --kind {kind}")

let private template =
    "{% for m in messages %}[{{ m.role }}] {{ m.content }}{{ eos_token }}\n{% endfor %}"

[<Test>]
let ``a chat is rendered by its template, wherever that lies`` () =
    inFolder (fun folder ->
        let chat =
            write folder "chat.json" """{"messages":[{"role":"user","content":"a\u00e9"}],"eos_token":"<e>"}"""

        let render path = succeed [ "tokenize"; "chat"; chat; "--template"; path ]
        let bare = write folder "template.jinja" template

        let config =
            write folder "tokenizer_config.json" (JsonSerializer.Serialize {| chat_template = template |})

        Assert.That(render bare, Is.EqualTo "[user] aé<e>\n")
        Assert.That(render config, Is.EqualTo "[user] aé<e>\n")
        Assert.That(render folder, Is.EqualTo "[user] aé<e>\n"))

[<Test>]
let ``chats of programs are answered by text or by the template's error`` () =
    inFolder (fun folder ->
        let template =
            write
                folder
                "t.jinja"
                "{% if not messages %}{{ raise_exception('empty') }}{% endif %}{{ messages[0].content }}"

        let chats =
            write folder "chats.jsonl" "{\"messages\":[{\"role\":\"user\",\"content\":\"x\"}]}\n{\"messages\":[]}\n"

        let lines =
            (succeed [ "tokenize"; "chat"; chats; "--jsonl"; "--template"; template ]).TrimEnd().Split '\n'

        Assert.That(lines[0], Is.EqualTo """{"text":"x"}""")
        Assert.That(lines[1], Does.StartWith("{\"error\":").And.Contain "empty"))

[<TestCase("{}", "line 1, chat request")>]
[<TestCase("no JSON", "line 1")>]
let ``a line that is no chat is answered by what is wrong, and those behind it are answered``
    (line: string)
    (where: string)
    =
    inFolder (fun folder ->
        let good = """{"messages":[{"role":"user","content":"x"}]}"""
        let chats = write folder "chats.jsonl" $"{line}\n{good}\n{line}\n"
        let template = write folder "t.jinja" template
        let outcome = Invocation.legato [ "tokenize"; "chat"; chats; "--jsonl"; "--template"; template ]
        Assert.That(outcome.ExitCode, Is.EqualTo 2)
        Assert.That(outcome.Errors, Does.Contain($"chats.jsonl, {where}").And.Contain("and 1 more"))
        let lines = outcome.Output.TrimEnd().Split '\n'
        Assert.That(lines.Length, Is.EqualTo 3)
        Assert.That(lines[0], Does.StartWith """{"error":""")
        Assert.That(lines[1], Does.StartWith """{"text":"[user] x"""))

let private mistaken words =
    let outcome = Invocation.legato ("tokenize" :: words)
    Assert.That(outcome.ExitCode, Is.EqualTo 2, outcome.Output)
    Assert.That(outcome.Errors, Does.Contain "remedy:")
    outcome.Errors

[<Test>]
let ``a rank file of one's own is read with a pattern`` () =
    inFolder (fun folder ->
        let line value = Convert.ToBase64String [| byte value |] + $" {value}\n"

        let ranks = write folder "own.tiktoken" (Seq.init 256 line |> String.concat "")
        let text = write folder "text.txt" "ab"
        let encode path = [ "encode"; text; "--tokenizer"; path ]
        Assert.That(mistaken (encode ranks), Does.Contain "--pattern gpt2")
        Assert.That(succeed ("tokenize" :: encode ranks @ [ "--pattern"; "gpt2" ]), Is.EqualTo "97 98\n")
        Assert.That(succeed ("tokenize" :: encode folder @ [ "--pattern"; "o200k" ]), Is.EqualTo "97 98\n")
        let trained = train folder "bytes"
        Assert.That(mistaken (encode trained @ [ "--pattern"; "gpt2" ]), Does.Contain "no rank file"))

[<TestCase("tiktoken/cl100k_base.tiktoken.gz", "<|endoftext|>", "100257")>]
[<TestCase("llama2/tokenizer.model", "</s>", "2")>]
let ``special tokens count when they are asked for, whatever the file`` (file: string) (token: string) (id: string) =
    inFolder (fun folder ->
        let text = write folder "text.txt" token
        let tokenizer = Repository.shared $"data/tokenizers/{file}"
        let encode more = (succeed ([ "tokenize"; "encode"; text; "--tokenizer"; tokenizer ] @ more)).Trim()
        Assert.That(encode [ "--allow-special" ], Is.EqualTo id)
        Assert.That(encode [ "--forbid-special" ], Is.Not.EqualTo id)
        Assert.That(encode [], Is.Not.EqualTo id))

[<TestCase "word-bpe">]
[<TestCase "char">]
[<TestCase "unigram">]
[<TestCase "wordpiece">]
let ``characters that the corpus hasn't are unknown tokens`` (kind: string) =
    inFolder (fun folder ->
        let tokenizer = train folder kind
        let text = write folder "new.txt" "Ж"
        let ids = succeed [ "tokenize"; "encode"; text; "--tokenizer"; tokenizer ]

        let back =
            succeed [ "tokenize"; "decode"; write folder "ids.txt" ids; "--tokenizer"; tokenizer; "--keep-special" ]

        Assert.That(back.Trim(), Does.EndWith("<unk>").Or.EqualTo "[UNK]"))

[<Test>]
let ``what is given twice is counted once`` () =
    inFolder (fun folder ->
        let tokenizer = train folder "bytes"
        let text = Path.Combine(folder, "corpus.txt")

        let stats paths tokenizers =
            succeed (
                "tokenize" :: "stats" :: "--json" :: paths
                @ List.collect (fun path -> [ "--tokenizer"; path ]) tokenizers
            )

        let once = stats [ text ] [ tokenizer ]
        Assert.That(stats [ text; text; folder + "/./corpus.txt" ] [ tokenizer; tokenizer + "/" ], Is.EqualTo once))

[<Test>]
let ``a vocabulary that the text doesn't fill is told of`` () =
    inFolder (fun folder ->
        let text = write folder "t.txt" "a b a b"
        let out name = [ "--out"; Path.Combine(folder, name) ]
        let outcome = Invocation.legato ([ "tokenize"; "train"; text ] @ out "a")
        Assert.That(outcome.ExitCode, Is.Zero)
        Assert.That(outcome.Errors, Does.Contain "tokens, not 32000")

        Assert.That(
            mistaken ([ "train"; text; "--kind"; "bytes"; "--vocab"; "400" ] @ out "b"),
            Does.Contain "means nothing with"
        )

        Assert.That(
            mistaken ([ "train"; text; "--kind"; "unigram"; "--vocab"; "3" ] @ out "c"),
            Does.Contain "too small"
        ))

[<Test>]
let ``a folder of several tokenizers says which, and other files are no damaged models`` () =
    inFolder (fun folder ->
        let text = write folder "t.txt" "a"
        write folder "a.tiktoken" "YQ== 0\n" |> ignore
        write folder "b.model" "x" |> ignore
        let encode path = mistaken [ "encode"; text; "--tokenizer"; path ]
        Assert.That(encode folder, Does.Contain "several tokenizers: a.tiktoken, b.model")
        Assert.That(encode (Path.Combine(folder, "b.model")), Does.Contain "no tokenizer of a kind")
        Assert.That(encode (write folder "config.json" "{}"), Does.Contain "it has no 'model'")
        Assert.That(encode (write folder "empty.model" ""), Does.Contain "is empty"))

[<Test>]
let ``a folder's other files are told of, and standard input is a dash`` () =
    inFolder (fun folder ->
        let tokenizer = train folder "bytes"
        let texts = Path.Combine(folder, "texts")
        Directory.CreateDirectory texts |> ignore
        write texts "a.txt" "a" |> ignore
        write texts "b.md" "b" |> ignore
        let outcome = Invocation.legato [ "tokenize"; "encode"; texts; "--tokenizer"; tokenizer ]
        Assert.That(outcome.Errors, Does.Contain "1 file isn't .txt and left out")

        Assert.That(
            mistaken [ "encode"; "-"; "-"; "--tokenizer"; tokenizer ],
            Does.Contain "standard input is given twice"
        ))

/// The reference's texts and rows of ids, made by other libraries.
let private vectors =
    lazy
        (use packed = File.OpenRead(Repository.shared "data/tokenizers/vectors.json.gz")
         use plain = new GZipStream(packed, CompressionMode.Decompress)
         JsonDocument.Parse(plain).RootElement)

[<TestCase("gpt2/tokenizer.json", "gpt2/tokenizer.json.gz")>]
[<TestCase("bert/tokenizer.json", "bert/vocab.txt")>]
[<TestCase("t5/tokenizer.json", "t5/tokenizer.json.gz")>]
[<TestCase("llama2/tokenizer.model", "llama2/tokenizer.model")>]
[<TestCase("tiktoken/cl100k_base", "tiktoken/cl100k_base.tiktoken.gz")>]
let ``programs get the ids and the text of the tokenizer's own library`` (name: string) (file: string) =
    inFolder (fun folder ->
        let tokenizer = Repository.shared $"data/tokenizers/{file}"

        let rows =
            vectors.Value.GetProperty("tokenizers").GetProperty(name).GetProperty("rows").EnumerateArray()
            |> List.ofSeq

        let answers verb flags (lines: string seq) =
            let input = write folder verb (String.concat "\n" lines)

            (succeed ([ "tokenize"; verb; input; "--jsonl"; "--tokenizer"; tokenizer ] @ flags)).TrimEnd().Split '\n'
            |> Seq.map (fun line -> JsonDocument.Parse(line).RootElement)

        let texts = vectors.Value.GetProperty("texts").EnumerateArray() |> Seq.map _.GetRawText()

        let ids =
            texts
            |> answers "encode" [ "--no-special" ]
            |> Seq.map _.GetProperty("ids").GetRawText()
            |> List.ofSeq

        let plain = rows |> List.map (fun row -> row.GetProperty("plain").GetRawText().Replace(" ", ""))
        Assert.That((ids = plain), Is.True, "ids")

        let framed (row: JsonElement) =
            match row.TryGetProperty "ids" with
            | true, ids -> ids.GetRawText()
            | _ -> row.GetProperty("plain").GetRawText()

        let decoded = rows |> List.map framed |> answers "decode" [] |> Seq.map _.GetString() |> List.ofSeq
        let expected = rows |> List.map _.GetProperty("decoded").GetString()
        Assert.That((decoded = expected), Is.True, "text"))

/// What is wrong with a file, how the file is read, and what the message must say.
let private badInputs =
    [
        "no file", None, [ "encode" ], [ "no such file" ]
        "no UTF-8", Some [| 0x61uy; 0xFFuy |], [ "encode" ], [ "no UTF-8 text" ]
        "no JSON", Some "\"a\"\nb\n"B, [ "encode"; "--jsonl" ], [ "input, line 2"; "JSON" ]
        "half a surrogate pair", Some "\"\\ud800\"\n"B, [ "encode"; "--jsonl" ], [ "line 1" ]
        "no UTF-8 in a line", Some [| 0x22uy; 0xFFuy; 0x22uy |], [ "encode"; "--jsonl" ], [ "no UTF-8 text" ]
        "no ids", Some "1 two"B, [ "decode" ], [ "'two' is no id" ]
        "an id out of range", Some "[1,2]\n[99999]\n"B, [ "decode"; "--jsonl" ], [ "line 2"; "99999" ]
    ]
    |> List.map (fun (name, bytes, words, parts) -> TestCaseData(bytes, words, parts).SetArgDisplayNames name)

[<TestCaseSource(nameof badInputs)>]
let ``bad input ends with 2 and says what and where`` (bytes: byte[] option) (words: string list) (parts: string list) =
    inFolder (fun folder ->
        let path = Path.Combine(folder, "input")
        bytes |> Option.iter (fun bytes -> File.WriteAllBytes(path, bytes))
        let outcome = Invocation.legato ([ "tokenize" ] @ words @ [ path; "--tokenizer"; train folder "bytes" ])
        Assert.That(outcome.ExitCode, Is.EqualTo 2)

        for part in parts do
            Assert.That(outcome.Errors, Does.Contain part))

[<Test>]
let ``a line that is no UTF-8 has an error, and those behind it their answers`` () =
    inFolder (fun folder ->
        let path = Path.Combine(folder, "input")

        File.WriteAllBytes(
            path,
            Array.concat [ "\"a\"\n\""B; [| 0xFFuy |]; "\"\n\""B; [| 0xC3uy; 0xA9uy |]; "\"\r\n\"b\""B ]
        )

        let words = [ "tokenize"; "encode"; "--jsonl"; path; "--tokenizer"; train folder "bytes" ]
        let outcome = Invocation.legato words
        Assert.That(outcome.ExitCode, Is.EqualTo 2)
        Assert.That(outcome.Errors, Does.Contain("no UTF-8").And.Contain "line 2")
        let lines = outcome.Output.Split('\n', StringSplitOptions.RemoveEmptyEntries)
        Assert.That(lines.Length, Is.EqualTo 4)
        Assert.That(lines[1], Does.StartWith("{\"error\":").And.Contain "UTF-8")

        for i in [ 0; 2; 3 ] do
            Assert.That(lines[i], Does.StartWith "{\"ids\":"))

[<Test>]
let ``a vocabulary that can't be learned leaves no folder behind`` () =
    inFolder (fun folder ->
        let out = Path.Combine(folder, "vocabulary")
        let outcome = Invocation.legato [ "tokenize"; "train"; write folder "empty.txt" ""; "--out"; out ]
        Assert.That(outcome.ExitCode, Is.EqualTo 2)
        Assert.That(outcome.Errors, Does.Contain "the text is empty")
        Assert.That(out, Does.Not.Exist))

[<Test>]
let ``a tokenizer that is there is not overwritten`` () =
    inFolder (fun folder ->
        let tokenizer = Path.Combine(train folder "bpe", "tokenizer.json")
        let before = File.ReadAllText tokenizer
        let corpus = write folder "other.txt" "something else"

        let outcome =
            Invocation.legato [ "tokenize"; "train"; corpus; "--out"; Path.GetDirectoryName tokenizer ]

        Assert.That(outcome.ExitCode, Is.EqualTo 2)
        Assert.That(outcome.Errors, Does.Contain "there is a tokenizer already")
        Assert.That(File.ReadAllText tokenizer, Is.EqualTo before))
