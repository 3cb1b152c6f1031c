// kernels.cu on the CPU: for each of its kernels, named by KERNELS, a function that runs it in a grid, and one that says
// what it takes. Threads run one after the other, so a kernel must not need those of its block beside it.

#include <math.h>

#include <utility>

#define __global__
#define __device__

struct Dimension {
    unsigned int x;
};
static thread_local Dimension blockIdx, blockDim, threadIdx;

#include "kernels.cu"

template <typename Argument> constexpr char kind = '?';
template <> constexpr char kind<int> = 'i';
template <> constexpr char kind<float> = 'f';
template <> constexpr char kind<const float*> = 'r';
template <> constexpr char kind<float*> = 'w';
template <> constexpr char kind<const unsigned char*> = 'R';
template <> constexpr char kind<unsigned char*> = 'W';

template <typename... Arguments> const char* kinds(void (*)(Arguments...)) {
    static const char text[] = {kind<Arguments>..., 0};
    return text;
}

template <typename... Arguments, size_t... Index>
void run(void (*kernel)(Arguments...), int blocks, int threads, void** given, std::index_sequence<Index...>) {
    blockDim.x = threads;
    for (blockIdx.x = 0; blockIdx.x < (unsigned)blocks; ++blockIdx.x)
        for (threadIdx.x = 0; threadIdx.x < blockDim.x; ++threadIdx.x)
            kernel(*static_cast<Arguments*>(given[Index])...);
}

template <typename... Arguments> void run(void (*kernel)(Arguments...), int blocks, int threads, void** given) {
    run(kernel, blocks, threads, given, std::index_sequence_for<Arguments...>());
}

// `given` has the address of each argument, as cuLaunchKernel takes them.
#define KERNEL(name)                                                                                         \
    extern "C" void run_##name(int blocks, int threads, void** given) { run(name, blocks, threads, given); } \
    extern "C" const char* kinds_##name() { return kinds(name); }
KERNELS
