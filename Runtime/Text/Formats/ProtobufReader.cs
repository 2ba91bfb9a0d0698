using System.Buffers.Binary;

namespace Legato.Runtime.Text.Formats;

/// <summary>Reads the fields of a protocol-buffer message, as much of the format as SentencePiece models use.</summary>
internal ref struct ProtobufReader(ReadOnlySpan<byte> message, string where)
{
    private readonly ReadOnlySpan<byte> message = message;
    private int at;

    /// <summary>The number of the field at hand.</summary>
    public int Field { get; private set; }

    private int wireType;

    /// <summary>Goes on to the next field; its value must then be read or skipped.</summary>
    public bool Next()
    {
        if (at >= message.Length)
            return false;
        ulong tag = Varint();
        Field = (int)(tag >> 3);
        wireType = (int)(tag & 7);
        return true;
    }

    public ReadOnlySpan<byte> Bytes()
    {
        Require(2);
        ulong length = Varint();
        if (length > (ulong)(message.Length - at))
            throw Damaged();
        var bytes = message.Slice(at, (int)length);
        at += (int)length;
        return bytes;
    }

    public string Text() => System.Text.Encoding.UTF8.GetString(Bytes());

    public int Int()
    {
        Require(0);
        return (int)Varint();
    }

    public bool Bool() => Int() != 0;

    public float Float()
    {
        Require(5);
        if (message.Length - at < 4)
            throw Damaged();
        at += 4;
        return BinaryPrimitives.ReadSingleLittleEndian(message[(at - 4)..]);
    }

    public void Skip()
    {
        switch (wireType)
        {
            case 0: Varint(); break;
            case 1: Advance(8); break;
            case 2: Bytes(); break;
            case 5: Advance(4); break;
            default: throw Damaged();
        }
    }

    private void Advance(int count)
    {
        if (message.Length - at < count)
            throw Damaged();
        at += count;
    }

    private ulong Varint()
    {
        ulong value = 0;
        for (int shift = 0; shift < 64; shift += 7)
        {
            if (at >= message.Length)
                throw Damaged();
            byte part = message[at++];
            value |= (ulong)(part & 0x7F) << shift;
            if (part < 0x80)
                return value;
        }
        throw Damaged();
    }

    private readonly void Require(int type)
    {
        if (wireType != type)
            throw Damaged();
    }

    private readonly LegatoException Damaged() =>
        new("the SentencePiece model is damaged", $"{where}, byte {at} of a message", "check that the file was copied whole");
}
