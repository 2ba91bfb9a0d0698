using static Legato.Runtime.Text.Patterns.PatternNode;

namespace Legato.Runtime.Text.Patterns;

/// <summary>What one instruction of a compiled pattern does.</summary>
internal enum PatternOp
{
    /// <summary>Ends the pattern, or a part that runs by itself.</summary>
    Match,

    /// <summary>Takes one character of <see cref="PatternInstruction.Set"/>.</summary>
    One,

    /// <summary>Takes X to Y characters of the set, as many as can be, and gives back one by one.</summary>
    Greedy,

    /// <summary>As Greedy, but gives nothing back.</summary>
    Possessive,

    /// <summary>Goes on at X.</summary>
    Jump,

    /// <summary>Goes on at X, and at Y when that fails.</summary>
    Split,

    /// <summary>Goes on when the anchor X holds.</summary>
    Anchor,

    /// <summary>Remembers the position in slot X, for <see cref="Advanced"/>.</summary>
    Mark,

    /// <summary>Goes on at Y when nothing was taken since slot X was marked: an empty round ends its loop.</summary>
    Advanced,

    /// <summary>Runs the next instructions to their Match by themselves, then goes on at X.</summary>
    Atomic,

    /// <summary>Goes on at X when what follows here matches.</summary>
    Ahead,

    /// <summary>Goes on at X when what follows here doesn't match.</summary>
    NotAhead,

    /// <summary>Goes on at X when something of up to Y characters before here matches.</summary>
    Behind,

    /// <summary>Goes on at X when nothing of up to Y characters before here matches.</summary>
    NotBehind,
}

internal readonly record struct PatternInstruction(PatternOp Op, int X = 0, int Y = 0, CharacterSet? Set = null);

/// <summary>Compiles a pattern's tree into instructions for <see cref="PatternMachine"/>.</summary>
internal sealed class PatternProgram
{
    private const int MaximumSize = 20_000;

    private readonly List<PatternInstruction> code = [];

    private PatternProgram()
    {
    }

    public IReadOnlyList<PatternInstruction> Code => code;

    public int Slots { get; private set; }

    public static PatternProgram Compile(PatternNode node)
    {
        var program = new PatternProgram();
        program.Add(node);
        program.Emit(new PatternInstruction(PatternOp.Match));
        return program;
    }

    private int Emit(PatternInstruction instruction)
    {
        if (code.Count == MaximumSize)
            throw new LegatoException("the regular expression is too large", "a pattern of the tokenizer", "use smaller repeats");
        code.Add(instruction);
        return code.Count - 1;
    }

    private void Add(PatternNode node)
    {
        switch (node)
        {
            case One one: Emit(new PatternInstruction(PatternOp.One, Set: one.Set)); break;
            case Anchor anchor: Emit(new PatternInstruction(PatternOp.Anchor, (int)anchor.Kind)); break;
            case Sequence sequence:
                foreach (var item in sequence.Items)
                    Add(item);
                break;
            case Choice choice: AddChoice(choice); break;
            case Repeat { Greed: Greed.Possessive, Body: not One } repeat: AddApart(PatternOp.Atomic, repeat with { Greed = Greed.Greedy }, 0); break;
            case Repeat repeat: AddRepeat(repeat); break;
            case Atomic atomic: AddApart(PatternOp.Atomic, atomic.Body, 0); break;
            case Look look: AddLook(look); break;
        }
    }

    private void AddChoice(Choice choice)
    {
        var jumps = new List<int>();
        for (int i = 0; i < choice.Alternatives.Count - 1; i++)
        {
            int split = Emit(default);
            Add(choice.Alternatives[i]);
            jumps.Add(Emit(default));
            code[split] = new PatternInstruction(PatternOp.Split, split + 1, code.Count);
        }
        Add(choice.Alternatives[^1]);
        foreach (int jump in jumps)
            code[jump] = new PatternInstruction(PatternOp.Jump, code.Count);
    }

    private void AddRepeat(Repeat repeat)
    {
        if (repeat is { Body: One one, Greed: not Greed.Lazy })
        {
            var op = repeat.Greed == Greed.Possessive ? PatternOp.Possessive : PatternOp.Greedy;
            Emit(new PatternInstruction(op, repeat.Minimum, repeat.Maximum < 0 ? int.MaxValue : repeat.Maximum, one.Set));
            return;
        }
        for (int i = 0; i < repeat.Minimum; i++)
            Add(repeat.Body);
        if (repeat.Maximum < 0)
            AddLoop(repeat);
        else
            AddOptional(repeat, repeat.Maximum - repeat.Minimum);
    }

    private void AddLoop(Repeat repeat)
    {
        int slot = Slots++;
        int split = Emit(default);
        Emit(new PatternInstruction(PatternOp.Mark, slot));
        Add(repeat.Body);
        int check = Emit(default);
        Emit(new PatternInstruction(PatternOp.Jump, split));
        code[check] = new PatternInstruction(PatternOp.Advanced, slot, code.Count);
        code[split] = SplitFor(repeat.Greed, split + 1, code.Count);
    }

    private void AddOptional(Repeat repeat, int times)
    {
        var splits = new List<int>();
        for (int i = 0; i < times; i++)
        {
            splits.Add(Emit(default));
            Add(repeat.Body);
        }
        foreach (int split in splits)
            code[split] = SplitFor(repeat.Greed, split + 1, code.Count);
    }

    private static PatternInstruction SplitFor(Greed greed, int body, int after) => greed == Greed.Lazy
        ? new PatternInstruction(PatternOp.Split, after, body)
        : new PatternInstruction(PatternOp.Split, body, after);

    private void AddLook(Look look)
    {
        if (!look.Behind)
        {
            AddApart(look.Negative ? PatternOp.NotAhead : PatternOp.Ahead, look.Body, 0);
            return;
        }
        int length = LongestOf(look.Body);
        if (length is < 0 or > 255)
            throw new LegatoException("the regular expression looks behind without a limit", "a pattern of the tokenizer",
                "only bounded conditions on what precedes are supported");
        AddApart(look.Negative ? PatternOp.NotBehind : PatternOp.Behind, look.Body, length);
    }

    private void AddApart(PatternOp op, PatternNode body, int length)
    {
        int start = Emit(default);
        Add(body);
        Emit(new PatternInstruction(PatternOp.Match));
        code[start] = new PatternInstruction(op, code.Count, length);
    }

    // The most characters that a node can take; -1 when there is no limit.
    private static int LongestOf(PatternNode node)
    {
        switch (node)
        {
            case One: return 1;
            case Atomic atomic: return LongestOf(atomic.Body);
            case Repeat repeat:
                int body = LongestOf(repeat.Body);
                return body < 0 || repeat.Maximum < 0 ? -1 : Math.Min(1024, body * repeat.Maximum);
            case Sequence sequence:
                int total = 0;
                foreach (var item in sequence.Items)
                {
                    int length = LongestOf(item);
                    if (length < 0)
                        return -1;
                    total = Math.Min(1024, total + length);
                }
                return total;
            case Choice choice:
                int longest = 0;
                foreach (var alternative in choice.Alternatives)
                {
                    int length = LongestOf(alternative);
                    if (length < 0)
                        return -1;
                    longest = Math.Max(longest, length);
                }
                return longest;
            default: return 0;
        }
    }
}
