// Dropout on a CUDA device: the factors of `dropout.rs`, which documents them. Compiled at run time by NVRTC; a test compiles the
// same text as C and runs it on the CPU.

__device__ float factor(unsigned element, const unsigned *key, unsigned threshold, float scale) {
    unsigned h = element * 0x9e3779b9u ^ key[0];
    h = (h ^ (h >> 16)) * 0x21f0aaadu;
    h = (h ^ (h >> 15) ^ key[1]) * 0xd35a2d97u;
    h ^= h >> 15;
    return h < threshold ? 0.0f : scale;
}

// For `[rows, width]`. `of`: the key of each row, and the number of its first element.
EXPORT __global__ void dropout_rows(float *y, const float *x, const unsigned *of, unsigned n, unsigned width, unsigned threshold,
                                    float scale) {
    for (unsigned i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += blockDim.x * gridDim.x) {
        const unsigned *row = of + 3 * (i / width);
        y[i] = x[i] * factor(row[2] + i % width, row, threshold, scale);
    }
}

// For `[sequences, heads, longest, longest]`. `of`: the key of each sequence, and its length.
EXPORT __global__ void dropout_weights(float *y, const float *x, const unsigned *of, unsigned n, unsigned heads, unsigned longest,
                                       unsigned threshold, float scale) {
    for (unsigned i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += blockDim.x * gridDim.x) {
        unsigned column = i % longest, row = i / longest % longest, head = i / (longest * longest) % heads;
        const unsigned *sequence = of + 3 * (i / (longest * longest * heads));
        unsigned length = sequence[2];
        int is_real = row < length && column < length;
        y[i] = is_real ? x[i] * factor((head * length + row) * length + column, sequence, threshold, scale) : x[i];
    }
}
