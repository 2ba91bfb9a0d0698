using System.Text;
using Legato.Runtime.Text.Unicode;

namespace Legato.Runtime.Text.Patterns;

/// <summary>
/// Runs a compiled pattern over one text by backtracking, over code points, within a budget of steps: a pattern
/// that explodes is an error and not a hang.
/// </summary>
internal ref struct PatternMachine
{
    private const long BaseSteps = 10_000_000;
    private const long StepsPerCharacter = 2_000;

    private readonly IReadOnlyList<PatternInstruction> code;
    private readonly ReadOnlySpan<char> text;
    private readonly int[] slots;
    private Frame[] frames;
    private int frameCount;
    private long steps;

    /// <summary>
    /// A choice to come back to: at <see cref="Position"/>, or, for a greedy loop, one character before it while it
    /// lies behind <see cref="Floor"/>. With a slot it restores that instead.
    /// </summary>
    private record struct Frame(int Instruction, int Position, int Floor, int Slot);

    public PatternMachine(PatternProgram program, ReadOnlySpan<char> text)
    {
        code = program.Code;
        this.text = text;
        slots = new int[program.Slots];
        frames = new Frame[64];
        steps = BaseSteps + StepsPerCharacter * text.Length;
    }

    /// <summary>The end of the match that starts at a position, or -1.</summary>
    public int MatchAt(int position) => Run(0, position, -1);

    private int Run(int start, int position, int target)
    {
        int floor = frameCount;
        int at = start;
        while (true)
        {
            if (--steps < 0)
                throw new LegatoException("the regular expression takes too many steps on this text", "split pattern",
                    "use a pattern without nested repeats");
            bool failed;
            if (code[at].Op == PatternOp.Match)
            {
                if (target < 0 || position == target)
                {
                    frameCount = floor;
                    return position;
                }
                failed = true;
            }
            else
            {
                failed = !Step(ref at, ref position);
            }
            if (failed && !TryBacktrack(floor, ref at, ref position))
                return -1;
        }
    }

    private bool Step(ref int at, ref int position)
    {
        var instruction = code[at];
        switch (instruction.Op)
        {
            case PatternOp.One:
                at++;
                return TryTake(instruction.Set!, ref position);
            case PatternOp.Greedy or PatternOp.Possessive:
                return TakeMany(instruction, ref at, ref position);
            case PatternOp.Jump:
                at = instruction.X;
                return true;
            case PatternOp.Split:
                Push(new Frame(instruction.Y, position, position, -1));
                at = instruction.X;
                return true;
            case PatternOp.Anchor:
                at++;
                return Holds((AnchorKind)instruction.X, position);
            case PatternOp.Mark:
                Push(new Frame(0, slots[instruction.X], 0, instruction.X));
                slots[instruction.X] = position;
                at++;
                return true;
            case PatternOp.Advanced:
                at = slots[instruction.X] == position ? instruction.Y : at + 1;
                return true;
            case PatternOp.Atomic:
                position = Run(at + 1, position, -1);
                at = instruction.X;
                return position >= 0;
            case PatternOp.Ahead or PatternOp.NotAhead:
                bool follows = Run(at + 1, position, -1) >= 0;
                at = instruction.X;
                return follows == (instruction.Op == PatternOp.Ahead);
            default:
                bool precedes = Precedes(at + 1, position, instruction.Y);
                at = instruction.X;
                return precedes == (instruction.Op == PatternOp.Behind);
        }
    }

    private bool TakeMany(PatternInstruction loop, ref int at, ref int position)
    {
        int count = 0, least = position;
        while (count < loop.Y && TryTake(loop.Set!, ref position))
        {
            count++;
            if (count == loop.X)
                least = position;
        }
        steps -= count;
        if (count < loop.X)
            return false;
        at++;
        if (loop.Op == PatternOp.Greedy && position > least)
            Push(new Frame(at, position, least, -1));
        return true;
    }

    private bool TryTake(CharacterSet set, ref int position)
    {
        if (position >= text.Length)
            return false;
        Rune.DecodeFromUtf16(text[position..], out var rune, out int length);
        if (!set.Contains(rune.Value))
            return false;
        position += length;
        return true;
    }

    private bool TryBacktrack(int floor, ref int at, ref int position)
    {
        while (frameCount > floor)
        {
            ref var frame = ref frames[frameCount - 1];
            if (frame.Slot >= 0)
            {
                slots[frame.Slot] = frame.Position;
                frameCount--;
                continue;
            }
            at = frame.Instruction;
            if (frame.Position == frame.Floor)
            {
                position = frame.Position;
                frameCount--;
                return true;
            }
            position = frame.Position = Before(frame.Position);
            if (position == frame.Floor)
                frameCount--;
            return true;
        }
        return false;
    }

    private readonly int Before(int position) =>
        position >= 2 && char.IsLowSurrogate(text[position - 1]) && char.IsHighSurrogate(text[position - 2]) ? position - 2 : position - 1;

    private bool Precedes(int start, int position, int most)
    {
        int from = position;
        for (int length = 0; length <= most; length++)
        {
            if (Run(start, from, position) >= 0)
                return true;
            if (from == 0)
                break;
            from = Before(from);
        }
        return false;
    }

    private readonly bool Holds(AnchorKind kind, int position) => kind switch
    {
        AnchorKind.TextStart => position == 0,
        AnchorKind.TextEnd => position == text.Length,
        AnchorKind.TextEndOrLastLine => position == text.Length || position == text.Length - 1 && text[position] == '\n',
        AnchorKind.LineStart => position == 0 || text[position - 1] == '\n' && position < text.Length,
        AnchorKind.LineEnd => position == text.Length || text[position] == '\n',
        AnchorKind.WordEdge => IsWordBefore(position) != IsWordAt(position),
        _ => IsWordBefore(position) == IsWordAt(position),
    };

    private readonly bool IsWordBefore(int position) => position > 0 && IsWordAt(Before(position));

    private readonly bool IsWordAt(int position) =>
        Rune.DecodeFromUtf16(text[position..], out var rune, out _) == System.Buffers.OperationStatus.Done && Words.IsWordCharacter(rune.Value);

    private void Push(Frame frame)
    {
        if (frameCount == frames.Length)
            Array.Resize(ref frames, frameCount * 2);
        frames[frameCount++] = frame;
    }
}
