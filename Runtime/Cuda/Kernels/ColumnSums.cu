// results[j] = Σ over parts of Σ over a part's pieces of their column j, each sum in order: what kernels that sum rows have left. A
// block takes 32 columns, a warp some of the parts. SUMS: sums of as many pieces, of any columns each.

struct ColumnSum
{
    const float* pieces;
    float* results;
    long long columns;
};

struct ColumnSumsArgs
{
    ColumnSum sums[SUMS];
    long long parts, each;
};

constexpr int Lanes = 32, MostParts = 32;

extern "C" __global__ void __launch_bounds__(Lanes * MostParts) column_sums(const __grid_constant__ ColumnSumsArgs args)
{
    __shared__ float sums[MostParts][Lanes];
    const ColumnSum& own = args.sums[blockIdx.y];
    const int lane = threadIdx.x % Lanes, part = threadIdx.x / Lanes, each = (int)args.each;
    const long long column = (long long)blockIdx.x * Lanes + lane;
    if (part < args.parts && column < own.columns)
    {
        const float* from = own.pieces + part * each * own.columns + column;
        float sum = 0;
#pragma unroll 8
        for (int piece = 0; piece < each; piece++)
            sum += __ldg(from + piece * own.columns);
        sums[part][lane] = sum;
    }
    __syncthreads();
    if (part > 0 || column >= own.columns)
        return;
    float sum = 0;
    for (int i = 0; i < args.parts; i++)
        sum += sums[i][lane];
    own.results[column] = sum;
}
