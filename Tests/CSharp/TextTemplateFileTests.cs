using System.Text;
using System.Text.Json;
using Legato.Runtime;
using Legato.Runtime.Checkpoints;
using Legato.Runtime.Text;
using Legato.Runtime.Text.Chat;
using Legato.Runtime.Text.Training;
using NUnit.Framework;

namespace Legato.Tests;

/// <summary>Chat templates as they lie beside models: one or several, with the special tokens that they write.</summary>
[TestFixture]
internal sealed class TextTemplateFileTests
{
    private static readonly ChatRequest Plain = ChatRequest.Of([new("user", "hi")]);
    private static readonly ChatRequest WithTools = Plain with { Tools = JsonSerializer.SerializeToElement(new[] { new { type = "function" } }) };

    private TemporaryFolder folder = null!;

    [SetUp]
    public void MakeFolder() => folder = new TemporaryFolder();

    [TearDown]
    public void RemoveFolder() => folder.Dispose();

    [TestCase("\"<s>\"")]
    [TestCase("{\"content\":\"<s>\",\"lstrip\":false}")]
    public void AFoldersSpecialTokensAreWritten(string begin)
    {
        Write("tokenizer_config.json", $$$"""{"bos_token":{{{begin}}},"eos_token":"</s>","unk_token":null,"chat_template":"{{ bos_token }}{{ unk_token }}{{ eos_token }}"}""");
        Write("special_tokens_map.json", """{"unk_token":"<unk>","eos_token":"other"}""");
        Assert.That(Render(folder.Path, Plain), Is.EqualTo("<s><unk></s>"));
        Assert.That(Render(folder.File("tokenizer_config.json"), Plain), Is.EqualTo("<s><unk></s>"));
        Assert.That(Render(folder.Path, Plain with { BeginToken = "<b>" }), Is.EqualTo("<b><unk></s>"), "the chat's own goes first");
        Write("chat_template.jinja", "J{{ bos_token }}");
        Assert.That(Render(folder.Path, Plain), Is.EqualTo("J<s>"));
        Assert.That(Render(folder.File("chat_template.jinja"), Plain), Is.EqualTo("J<s>"));
    }

    [TestCase("chat_template")]
    [TestCase("template")]
    public void AFileOfAnyNameHasATemplateAndItsTokens(string member)
    {
        Write("tokenizer_config.json", """{"bos_token":"other"}""");
        Write("sample.json", $$$"""{"bos_token":"<s>","{{{member}}}":"{{ bos_token }}"}""");
        Assert.That(Render(folder.File("sample.json"), Plain), Is.EqualTo("<s>"));
    }

    [TestCase("""[{"name":"default","template":"D{{ x }}"},{"name":"tool_use","template":"T{{ x }}"}]""")]
    [TestCase("""{"default":"D{{ x }}","tool_use":"T{{ x }}"}""")]
    public void AChatWithToolsTakesTheTemplateForTools(string templates)
    {
        Write("tokenizer_config.json", $$"""{"chat_template":{{templates}}}""");
        Assert.That((Render(folder.Path, Plain), Render(folder.Path, WithTools)), Is.EqualTo(("D", "T")));
    }

    [Test]
    public void TemplatesMayLieInFiles()
    {
        Write("tokenizer_config.json", """{"chat_template":"C{{ x }}"}""");
        Write("additional_chat_templates/tool_use.jinja", "T{{ x }}");
        Assert.That((Render(folder.Path, Plain), Render(folder.Path, WithTools)), Is.EqualTo(("C", "T")));
        Write("chat_template.jinja", "F{{ x }}");
        Assert.That((Render(folder.Path, Plain), Render(folder.Path, WithTools)), Is.EqualTo(("F", "T")));
    }

    [Test]
    public void OfSeveralTemplatesOneMustBeMeant()
    {
        Write("tokenizer_config.json", """{"chat_template":[{"name":"rag","template":"{{ x }}"},{"name":"tool_use","template":"T{{ x }}"}]}""");
        Assert.That(() => Render(folder.Path, Plain), Throws.TypeOf<LegatoException>().With.Message.Contains("(rag, tool_use) none is called 'default'"));
        Assert.That(Render(folder.Path, WithTools), Is.EqualTo("T"));
    }

    [Test]
    public void ATokenizerCarriesItsTemplatesThroughFiles()
    {
        TextFixtures.Train(TokenizerKind.BytePair, 300, "<s>", "</s>").Save(folder.Path);
        Write("additional_chat_templates/tool_use.jinja", "T{{ bos_token }}");
        Write("chat_template.jinja", "D{{ eos_token }}");
        var tokenizer = Tokenizer.Load(folder.Path);
        tokenizer.Save(folder.File("copy"));
        GgufWriter.Write(folder.File("model.gguf"), tokenizer.ToGguf(), []);
        foreach (string path in new[] { folder.Path, folder.File("copy"), folder.File("model.gguf") })
        {
            Assert.That((Render(path, Plain), Render(path, WithTools)), Is.EqualTo(("D</s>", "T<s>")), path);
            var encoder = new ChatEncoder(Tokenizer.Load(path));
            Assert.That((encoder.Encode(Plain).Text, encoder.Encode(WithTools).Text), Is.EqualTo(("D</s>", "T<s>")), path);
        }
    }

    [TestCase("t.jinja", "a\0{{ b }}", "binary")]
    [TestCase("t.jinja", "just text", "neither {{")]
    [TestCase("t.jinja", "{{ a\n b }", "line 2 of the template")]
    [TestCase("config.json", "{}", "no chat template")]
    [TestCase("config.json", "{", "well-formed JSON")]
    [TestCase("config.json", """{"chat_template":1}""", "must be an array, and is a number")]
    [TestCase("sub/other.txt", "x", "the folder holds no chat template")]
    public void WhatIsNoTemplateIsRefused(string file, string content, string message)
    {
        Write(file, content);
        string path = file.StartsWith("sub/", StringComparison.Ordinal) ? folder.File("sub") : folder.File(file);
        Assert.That(() => ChatTemplates.Load(path), Throws.TypeOf<LegatoException>().With.Message.Contains(message).And.Message.Contains("remedy"));
    }

    [Test]
    public void BytesThatAreNoTextAreRefused()
    {
        File.WriteAllBytes(folder.File("t.jinja"), [.. "{{ a }}"u8, 0xFF]);
        Assert.That(() => ChatTemplates.Load(folder.File("t.jinja")), Throws.TypeOf<LegatoException>().With.Message.Contains("no UTF-8"));
    }

    [TestCase("[]", "a chat is an object")]
    [TestCase("""{"messages":{"role":"user"}}""", "'messages' must be an array")]
    [TestCase("""{"messages":["hi"]}""", "message 0 must be an object")]
    [TestCase("""{"messages":[{"role":"user"},{"content":"x"}]}""", "message 1 must have a 'role'")]
    [TestCase("""{"messages":[{"role":7}]}""", "message 0 must have a 'role'")]
    [TestCase("""{"messages":[{"role":"user","content":7}]}""", "the 'content' of message 0")]
    [TestCase("""{"messages":[{"role":"user","tool_calls":{}}]}""", "the 'tool_calls' of message 0")]
    [TestCase("""{"messages":[],"tools":{}}""", "'tools' must be an array of objects")]
    [TestCase("""{"messages":[],"tools":["f"]}""", "'tools' must be an array of objects")]
    [TestCase("""{"messages":[],"add_generation_prompt":"yes"}""", "'add_generation_prompt' must be true or false")]
    [TestCase("""{"messages":[],"bos_token":1}""", "'bos_token' must be a string")]
    [TestCase("""{"messages":[],"strftime_now":"noon"}""", "'noon' is not a time")]
    public void AChatOfTheWrongShapeIsRefused(string json, string message) => Assert.That(
        () => ChatRequest.FromJson(JsonDocument.Parse(json).RootElement),
        Throws.TypeOf<LegatoException>().With.Message.Contains(message).And.Message.Contains("remedy"));

    private static string Render(string path, ChatRequest request) => ChatTemplates.Load(path).Render(request).Text;

    private void Write(string name, string content)
    {
        string path = folder.File(name);
        Directory.CreateDirectory(Path.GetDirectoryName(path)!);
        File.WriteAllBytes(path, Encoding.UTF8.GetBytes(content));
    }
}
