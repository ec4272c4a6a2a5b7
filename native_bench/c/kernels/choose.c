#include <stdlib.h>
#ifdef __AVX512F__
#include <immintrin.h>
#endif

#include "kernels.h"

#define BLOCK 256 /* scores */
#define CACHE_LINE 64
#define TURN_BITS 40 /* as scheduler/selection/scores.py has them */
#define LOAD_MAX 8
#define INFINITE INT64_MAX

/* A few scores side by side: as many as a register of this machine holds, or one. */
#ifdef __AVX512F__

#define LANES 8
typedef __m512i lanes;

static inline lanes load(const int64_t *scores, const uint8_t *allowed, size_t at)
{
    lanes loaded = _mm512_loadu_si512(scores + at);

    return allowed == NULL
               ? loaded
               : _mm512_mask_mov_epi64(_mm512_set1_epi64(INFINITE), allowed[at / 8], loaded);
}

static inline lanes lesser(lanes a, lanes b)
{
    return _mm512_min_epi64(a, b);
}

static inline int64_t least_of(lanes a)
{
    return _mm512_reduce_min_epi64(a);
}

static inline unsigned equal_bits(lanes a, int64_t score)
{
    return _mm512_cmpeq_epi64_mask(a, _mm512_set1_epi64(score));
}

#else

#define LANES 1
typedef int64_t lanes;

static inline lanes load(const int64_t *scores, const uint8_t *allowed, size_t at)
{
    return allowed == NULL || (allowed[at / 8] >> (at % 8) & 1) ? scores[at] : INFINITE;
}

static inline lanes lesser(lanes a, lanes b)
{
    return a < b ? a : b;
}

static inline int64_t least_of(lanes a)
{
    return a;
}

static inline unsigned equal_bits(lanes a, int64_t score)
{
    return a == score;
}

#endif

/* The least of a block, in four parts: a comparison takes longer than a load. */
static inline int64_t block_least(const int64_t *scores, const uint8_t *allowed, size_t block)
{
    lanes a = load(scores, allowed, block);
    lanes b = load(scores, allowed, block + LANES);
    lanes c = load(scores, allowed, block + 2 * LANES);
    lanes d = load(scores, allowed, block + 3 * LANES);

    for (size_t at = block + 4 * LANES; at < block + BLOCK; at += 4 * LANES) {
        a = lesser(a, load(scores, allowed, at));
        b = lesser(b, load(scores, allowed, at + LANES));
        c = lesser(c, load(scores, allowed, at + 2 * LANES));
        d = lesser(d, load(scores, allowed, at + 3 * LANES));
    }
    return least_of(lesser(lesser(a, b), lesser(c, d)));
}

/* The first place of the least score: first its block, then the place in it. Inlined, so that
 * there is one of it with and one without `allowed`. */
static inline __attribute__((always_inline)) size_t
choose(const int64_t *scores, const uint8_t *allowed, size_t size)
{
    int64_t least = INFINITE;
    size_t at = 0;

    for (size_t block = 0; block < size; block += BLOCK) {
        int64_t found = block_least(scores, allowed, block);

        if (found < least) {
            least = found;
            at = block;
        }
    }
    for (; at < size; at += LANES) {
        unsigned bits = equal_bits(load(scores, allowed, at), least);

        if (bits != 0) {
            return at + (size_t) __builtin_ctz(bits);
        }
    }
    return size;
}

/* One row of a class: load above, turn below, as the dispatcher writes them. */
static int64_t *make_scores(size_t size, uint64_t *random)
{
    size_t padded = (size + BLOCK - 1) / BLOCK * BLOCK;
    int64_t *scores = aligned_alloc(CACHE_LINE, padded * sizeof *scores);

    if (scores == NULL) {
        die("no memory for %zu scores", size);
    }
    for (size_t i = 0; i < padded; i++) {
        scores[i] = i < size ? (int64_t) (random_next(random) % LOAD_MAX << TURN_BITS | i) : INFINITE;
    }
    return scores;
}

/* As a dispatcher does, each choice adds to the load of what it chose, and takes it away again
 * elsewhere, so that no two looks are alike. */
static inline __attribute__((always_inline)) int64_t
run(int64_t *scores, const uint8_t *allowed, size_t size, uint64_t turns)
{
    int64_t began_ns = now_ns();
    size_t before = 0;

    for (uint64_t turn = 0; turn < turns; turn++) {
        size_t at = choose(scores, allowed, size);

        if (at >= size) {
            die("nothing to choose among %zu", size);
        }
        scores[at] += 1LL << TURN_BITS;
        scores[before] -= turn > 0 ? 1LL << TURN_BITS : 0;
        before = at;
        use(at);
    }
    scores[before] -= 1LL << TURN_BITS;
    return now_ns() - began_ns;
}

int64_t choose_least(size_t size, uint64_t turns)
{
    uint64_t random = size;
    int64_t *scores = make_scores(size, &random);
    int64_t took_ns = run(scores, NULL, size, turns);

    free(scores);
    return took_ns;
}

int64_t choose_least_allowed(size_t size, uint64_t turns)
{
    uint64_t random = size;
    int64_t *scores = make_scores(size, &random);
    uint8_t *allowed = allocate(size / 8 + BLOCK, 1); /* a bit each */
    int64_t took_ns;

    for (size_t i = 0; i < size / 8; i++) {
        allowed[i] = (uint8_t) random_next(&random);
    }
    took_ns = run(scores, allowed, size, turns);
    free(allowed);
    free(scores);
    return took_ns;
}
