// A row's keys and values on their way to the blocks that decode it: its parts, the rounds of those, and a ring of shared memory that a block
// streams them through. Constants as AttentionDecode.cu has them, whose text comes last.

struct DecodeArgs
{
    Heads query, key, value, output;
    int keys, partKeys, mostParts;
    const int* past;
    float* parts;
    int* counters;
    Extra extra;
};

constexpr int Warps = 8, Threads = 32 * Warps, WarpKeys = 8, RoundKeys = Warps * WarpKeys, MostParts = 32;

/// Pieces of 16 bytes: of a key, of a value, of a stage of the ring, which has a round's keys or its values.
constexpr int KeyChunks = HEAD / 8, ValueChunks = VALUE / 8, StageChunks = RoundKeys * (KeyChunks > ValueChunks ? KeyChunks : ValueChunks);

/// Where a piece of a row lies in its stage: so that neither the same one of eight rows nor four of each of two rows share banks.
template <int Chunks> DEVICE int place(int row, int chunk) { return row * Chunks + (chunk ^ (row & 1) << 2 ^ (row >> 1 & 3)); }

DEVICE const uint4* chunk_of(const Heads& heads, int b, int q, int h, int chunk) { return (const uint4*)((const Element*)heads.data + heads.offset(b, q, h)) + chunk; }

/// The rounds of a block's parts, one after another.
struct Rounds
{
    int part, first, end;

    DEVICE Rounds(const DecodeArgs& args, int keys) : part(blockIdx.x) { begin(args, keys); }

    DEVICE void begin(const DecodeArgs& args, int keys)
    {
        first = part * args.partKeys;
        end = min(first + args.partKeys, keys);
    }

    DEVICE bool is_over() const { return first >= end; }

    DEVICE bool ends_part() const { return first + RoundKeys >= end; }

    DEVICE void next(const DecodeArgs& args, int keys)
    {
        first += RoundKeys;
        if (first >= end)
        {
            part += gridDim.x;
            begin(args, keys);
        }
    }
};

/// A round's keys, its values, the next round's keys and so on, each a stage of a ring, on their way to shared memory. Eight threads
/// copy 64 elements of a row at a time.
struct Ring
{
    static constexpr int Lanes = 8, Rows = Threads / Lanes;

    const DecodeArgs& args;
    uint4* memory;
    const uint4 *key, *value;
    Rounds rounds;
    int keys, now = STAGES - 1, ahead = 0;

    DEVICE Ring(const DecodeArgs& args, uint4* memory, int b, int keyHead, int keys)
        : args(args), memory(memory), key(chunk_of(args.key, b, threadIdx.x / Lanes, keyHead, threadIdx.x % Lanes)),
          value(chunk_of(args.value, b, threadIdx.x / Lanes, keyHead, threadIdx.x % Lanes)), rounds(args, keys), keys(keys)
    {
    }

    DEVICE static void advance(int& stage) { stage = stage == STAGES - 1 ? 0 : stage + 1; }

    /// Starts on the next stage, of keys or values. The key and the value at `later` aren't there yet.
    DEVICE void fetch(bool areValues, int later)
    {
        if (!rounds.is_over())
        {
            if (areValues)
            {
                fetch<ValueChunks>(value, args.value.position / 8, later);
                rounds.next(args, keys);
            }
            else
                fetch<KeyChunks>(key, args.key.position / 8, later);
        }
        end_copies();
        advance(ahead);
    }

    template <int Chunks> DEVICE void fetch(const uint4* from, i64 stride, int later)
    {
        int k = rounds.first + threadIdx.x / Lanes;
        uint4* to = memory + ahead * StageChunks + place<Chunks>(threadIdx.x / Lanes, threadIdx.x % Lanes);
        from += rounds.first * stride;
#pragma unroll
        for (int row = 0; row < RoundKeys; row += Rows, k += Rows, from += Rows * stride)
            if (k != later)
#pragma unroll
                for (int chunk = 0; chunk < Chunks; chunk += Lanes)
                    copy_async(to + row * Chunks + chunk, from + chunk, k < keys);
    }

    /// The key and the value that were left out of the first stages.
    DEVICE void place_late(int b, int keyHead, int position)
    {
        int part = position / args.partKeys, within = position % args.partKeys, chunk = threadIdx.x;
        bool isValue = chunk >= KeyChunks;
        int stage = 2 * (part / gridDim.x * (args.partKeys / RoundKeys) + within / RoundKeys) + isValue, row = within % RoundKeys;
        if (part % gridDim.x != blockIdx.x || chunk >= KeyChunks + ValueChunks || stage >= STAGES - 1)
            return;
        if (isValue)
            memory[stage * StageChunks + place<ValueChunks>(row, chunk - KeyChunks)] = *chunk_of(args.value, b, position, keyHead, chunk - KeyChunks);
        else
            memory[stage * StageChunks + place<KeyChunks>(row, chunk)] = *chunk_of(args.key, b, position, keyHead, chunk);
    }

    /// Waits for the next stage, of keys or values. No warp is at the one before any more, where a fetch starts.
    DEVICE const uint4* next(bool areValues)
    {
        await_copies<STAGES - 2>();
        __syncthreads();
        fetch(areValues != (STAGES % 2 == 0), -1);
        advance(now);
        return memory + now * StageChunks;
    }
};
