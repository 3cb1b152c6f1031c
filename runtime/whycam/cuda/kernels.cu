// What runs on the GPU beside the model; kernels.py says what each kernel is for, and where it comes from. A thread
// computes one place of the output and needs no other thread. Nothing here goes beyond plain C++, so that tests run it on
// the CPU too.

static __device__ int thread() { return blockIdx.x * blockDim.x + threadIdx.x; }

// As numpy's maximum: NaN stays NaN, where fmaxf would hide it.
static __device__ float at_least(const float least, const float value) { return value < least ? least : value; }

// ---- Frames: crop, resize and colour in one pass. All weights are whole numbers, so that the result is exact.

// The pixels of a line of `length`, first to last, that one of `wanted` pixels is made of, and what each of them weighs.
struct Taps {
    int first, last;
    int total, of_first, between;

    __device__ int weight(const int pixel) const {
        if (pixel == first) return of_first;
        return pixel == last ? total - of_first - (last - first - 1) * between : between;
    }
};

// What pixel `i` covers, in parts of a pixel / wanted; if `two`, what is beyond the second pixel counts as that one.
static __device__ Taps area(const int i, const int length, const int wanted, const bool two) {
    const int start = i * length, end = start + length;
    Taps taps;
    taps.first = start / wanted;
    taps.last = (end - 1) / wanted;
    if (two && taps.last > taps.first) taps.last = taps.first + 1;
    taps.total = length;
    taps.of_first = taps.last > taps.first ? (taps.first + 1) * wanted - start : length;
    taps.between = wanted;
    return taps;
}

// The neighbours of the middle of pixel `i`, nearer ones weighing more.
static __device__ Taps linear(const int i, const int length, const int wanted) {
    const int middle = (2 * i + 1) * length - wanted, position = middle > 0 ? middle : 0;
    Taps taps;
    taps.total = 2 * wanted;
    taps.first = position / taps.total;
    taps.last = taps.first + 1 < length ? taps.first + 1 : taps.first;
    taps.of_first = taps.last > taps.first ? taps.total - position % taps.total : taps.total;
    taps.between = 0;
    return taps;
}

struct Bgr {
    const unsigned char* pixels;
    int pitch;

    __device__ void read(const int x, const int y, int* const bgr) const {
        const unsigned char* const pixel = pixels + y * pitch + 3 * x;
        for (int c = 0; c < 3; ++c) bgr[c] = pixel[c];
    }
};

static __device__ int byte(const int value) { return value < 0 ? 0 : value > 255 ? 255 : value; }

struct Nv12 {
    const unsigned char* luma;
    const unsigned char* chroma;
    int luma_pitch, chroma_pitch;

    // ITU-R BT.601, limited range, in OpenCV's parts of 2^20.
    __device__ void read(const int x, const int y, int* const bgr) const {
        const unsigned char* const colour = chroma + y / 2 * chroma_pitch + x / 2 * 2;
        const int above_black = luma[y * luma_pitch + x] - 16, u = colour[0] - 128, v = colour[1] - 128;
        const int grey = (above_black > 0 ? above_black : 0) * 1220542 + (1 << 19);
        bgr[0] = byte((grey + 2116026 * u) >> 20);
        bgr[1] = byte((grey - 409993 * u - 852492 * v) >> 20);
        bgr[2] = byte((grey + 1673527 * v) >> 20);
    }
};

// As whycam.detect.resize, which averages large images over blocks of 2 x 2 first; those weigh here as one pixel.
static __device__ bool halves(const int side, const int wanted) { return side % 2 == 0 && side >= 8 * wanted; }

template <typename Frame>
static __device__ void resize(const Frame frame, const int x, const int y, const int width, const int height,
                              unsigned char* const out, const int out_width, const int out_height) {
    const int i = thread();
    if (i >= out_width * out_height) return;
    int times = 0;
    while (halves(width >> times, out_width) && halves(height >> times, out_height)) ++times;
    const int blocks_across = width >> times, blocks_down = height >> times;
    const bool shrinks = blocks_across * blocks_down > out_width * out_height;
    const bool two = blocks_across < out_width || blocks_down < out_height;
    const int column = i % out_width, row = i / out_width;
    const Taps across = shrinks ? area(column, blocks_across, out_width, two) : linear(column, blocks_across, out_width);
    const Taps down = shrinks ? area(row, blocks_down, out_height, two) : linear(row, blocks_down, out_height);

    long long sums[3] = {0, 0, 0};
    for (int v = down.first << times; v < (down.last + 1) << times; ++v) {
        int line[3] = {0, 0, 0};
        for (int u = across.first << times; u < (across.last + 1) << times; ++u) {
            int bgr[3];
            frame.read(x + u, y + v, bgr);
            for (int c = 0; c < 3; ++c) line[c] += across.weight(u >> times) * bgr[c];
        }
        for (int c = 0; c < 3; ++c) sums[c] += static_cast<long long>(down.weight(v >> times)) * line[c];
    }
    const long long total = (static_cast<long long>(across.total) * down.total) << (2 * times);
    for (int c = 0; c < 3; ++c) out[3 * i + c] = static_cast<unsigned char>((2 * sums[c] + total) / (2 * total));
}

// A pixel of uint8 [out_height, out_width, 3] in each thread.
extern "C" __global__ void frame_from_bgr(const unsigned char* __restrict__ const pixels, const int pitch, const int x,
                                          const int y, const int width, const int height,
                                          unsigned char* __restrict__ const out, const int out_width,
                                          const int out_height) {
    resize(Bgr{pixels, pitch}, x, y, width, height, out, out_width, out_height);
}

extern "C" __global__ void frame_from_nv12(const unsigned char* __restrict__ const luma, const int luma_pitch,
                                           const unsigned char* __restrict__ const chroma, const int chroma_pitch,
                                           const int x, const int y, const int width, const int height,
                                           unsigned char* __restrict__ const out, const int out_width,
                                           const int out_height) {
    resize(Nv12{luma, chroma, luma_pitch, chroma_pitch}, x, y, width, height, out, out_width, out_height);
}

// ---- What is usual.

// A number of float32 [count] in each thread.
extern "C" __global__ void towards(const float* __restrict__ const before, const float* __restrict__ const now,
                                   const float share, float* __restrict__ const out, const int count) {
    const int i = thread();
    if (i >= count) return;
    out[i] = before[i] + (now[i] - before[i]) * share;
}

// ---- Class activation maps: maps and gradient are float32 [n, channels, places], usual maps [channels, places] or null.

static __device__ float unusual(const float* const maps, const float* const usual, const int i, const int size) {
    return usual ? maps[i] - usual[i % size] : maps[i];
}

// A weight of float32 [n, channels] in each thread, in all three.
extern "C" __global__ void grad_cam_weights(const float*, const float*, const float* __restrict__ const gradient,
                                            float* __restrict__ const weights, const int count, const int,
                                            const int places) {
    const int map = thread();
    if (map >= count) return;
    float sum = 0;
    for (int i = map * places; i < (map + 1) * places; ++i) sum += gradient[i];
    weights[map] = sum / places;
}

extern "C" __global__ void xgrad_cam_weights(const float* __restrict__ const maps, const float* __restrict__ const usual,
                                             const float* __restrict__ const gradient,
                                             float* __restrict__ const weights, const int count, const int channels,
                                             const int places) {
    const int map = thread();
    if (map >= count) return;
    float sum = 0, total = 0;
    for (int i = map * places; i < (map + 1) * places; ++i) {
        const float size = fabsf(unusual(maps, usual, i, channels * places));
        sum += gradient[i] * size;
        total += size;
    }
    weights[map] = sum / at_least(1e-12f, total);
}

extern "C" __global__ void grad_cam_plus_plus_weights(const float* __restrict__ const maps,
                                                      const float* __restrict__ const usual,
                                                      const float* __restrict__ const gradient,
                                                      float* __restrict__ const weights, const int count,
                                                      const int channels, const int places) {
    const int map = thread();
    if (map >= count) return;
    float sum = 0, total = 0;
    for (int i = map * places; i < (map + 1) * places; ++i) total += unusual(maps, usual, i, channels * places);
    total = at_least(0, total);
    for (int i = map * places; i < (map + 1) * places; ++i) {
        const float raising = at_least(0, gradient[i]);
        sum += raising / (2 + total * raising);
    }
    weights[map] = sum;
}

// relu(sum over the channels of weight * map), a place of float32 [n, places] in each thread.
extern "C" __global__ void weighed_maps(const float* __restrict__ const maps, const float* __restrict__ const usual,
                                        const float* __restrict__ const weights, float* __restrict__ const heat,
                                        const int count, const int channels, const int places) {
    const int i = thread();
    if (i >= count) return;
    const int first = i / places * channels, place = i % places;
    float sum = 0;
    for (int map = first; map < first + channels; ++map)
        sum += weights[map] * unusual(maps, usual, map * places + place, channels * places);
    heat[i] = at_least(0, sum);
}

// The same with a weight for each place: the gradient, or `least` where it is below that.
extern "C" __global__ void weighed_places(const float* __restrict__ const maps, const float* __restrict__ const usual,
                                          const float* __restrict__ const gradient, const float least,
                                          float* __restrict__ const heat, const int count, const int channels,
                                          const int places) {
    const int i = thread();
    if (i >= count) return;
    const int first = i / places * channels, place = i % places;
    float sum = 0;
    for (int map = first; map < first + channels; ++map) {
        const int at = map * places + place;
        sum += at_least(least, gradient[at]) * unusual(maps, usual, at, channels * places);
    }
    heat[i] = at_least(0, sum);
}

// ---- Time.

// (features - resting) * gradient of float32 [count / parts, length], resting [length] or null; each thread adds up one
// of the `parts` of a frame, the numbers that are `parts` apart.
extern "C" __global__ void frame_dots(const float* __restrict__ const features,
                                      const float* __restrict__ const gradient,
                                      const float* __restrict__ const resting, float* __restrict__ const dots,
                                      const int count, const int parts, const int length) {
    const int i = thread();
    if (i >= count) return;
    const int first = i / parts * length;
    float sum = 0;
    for (int k = i % parts; k < length; k += parts)
        sum += (resting ? features[first + k] - resting[k] : features[first + k]) * gradient[first + k];
    dots[i] = sum;
}

// A feature of float32 [frames + 1, frames, length] in each thread: in window t, frame t alone is kept, or is left out.
extern "C" __global__ void windows_of_one(const float* __restrict__ const features,
                                          const float* __restrict__ const resting, const int keep,
                                          float* __restrict__ const out, const int count, const int frames,
                                          const int length) {
    const int i = thread();
    if (i >= count) return;
    const int at = i % (frames * length), window = i / (frames * length);
    const bool kept = (at / length == window) == (keep != 0);
    out[i] = kept ? features[at] : resting ? resting[at % length] : 0;
}
