/* SPDX-License-Identifier: Apache-2.0 */

/*
 * random - xoshiro256++ for choices (which endpoint, is this request delayed); getrandom(2) for
 * what nobody may guess.  A forked child must not repeat its parent's draws, so it starts anew.
 */

#include "base/random.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/random.h>

#define UUID_BATCH  32          /* identifiers from one system call */

static uint64_t  state[4];
static bool      seeded;
static bool      watching_forks;
static uint8_t   uuid_octets[UUID_BATCH][16];
static size_t    uuid_left;


static void
forget(void)
{
    seeded = false;
    uuid_left = 0;
}


static void
watch_forks(void)
{
    if (!watching_forks) {
        CN_BUG_ON(pthread_atfork(NULL, NULL, forget) != 0);
        watching_forks = true;
    }
}


void
cn_random_secret(void *out, size_t len)
{
    uint8_t  *at = out;

    while (len > 0) {
        ssize_t  got = getrandom(at, len, 0);

        if (got < 0 && errno == EINTR) {
            continue;
        }

        /* a guessable secret is worse than a dead process */
        CN_BUG_ON(got <= 0);

        at += got;
        len -= (size_t) got;
    }
}


static inline uint64_t
rotate_left(uint64_t value, unsigned by)
{
    return (value << by) | (value >> (64 - by));
}


uint64_t
cn_random(void)
{
    uint64_t  result, shifted;

    if (__builtin_expect(!seeded, 0)) {
        watch_forks();
        cn_random_secret(state, sizeof(state));
        state[0] |= 1;                  /* all zero is the one state it never leaves */
        seeded = true;
    }

    result = rotate_left(state[0] + state[3], 23) + state[0];
    shifted = state[1] << 17;

    state[2] ^= state[0];
    state[3] ^= state[1];
    state[1] ^= state[2];
    state[0] ^= state[3];
    state[2] ^= shifted;
    state[3] = rotate_left(state[3], 45);

    return result;
}


uint64_t
cn_random_below(uint64_t bound)
{
    unsigned __int128  product;

    CN_BUG_ON(bound == 0);

    product = (unsigned __int128) cn_random() * bound;

    if ((uint64_t) product < bound) {
        /* 2^64 mod bound: draws below it would make some results likelier */
        uint64_t  uneven = (0 - bound) % bound;

        while ((uint64_t) product < uneven) {
            product = (unsigned __int128) cn_random() * bound;
        }
    }

    return (uint64_t) (product >> 64);
}


bool
cn_random_chance(uint32_t ppm)
{
    if (ppm == 0) {
        return false;
    }

    return ppm >= 1000000 || cn_random_below(1000000) < ppm;
}


void
cn_random_uuid(char out[36])
{
    static const char  hex[] = "0123456789abcdef";

    uint8_t  *octets;
    size_t    at = 0;

    if (uuid_left == 0) {
        watch_forks();
        cn_random_secret(uuid_octets, sizeof(uuid_octets));
        uuid_left = UUID_BATCH;
    }

    octets = uuid_octets[--uuid_left];
    octets[6] = (octets[6] & 0x0f) | 0x40;      /* version 4 */
    octets[8] = (octets[8] & 0x3f) | 0x80;      /* the RFC's variant */

    for (size_t i = 0; i < 16; i++) {
        if (i == 4 || i == 6 || i == 8 || i == 10) {
            out[at++] = '-';
        }

        out[at++] = hex[octets[i] >> 4];
        out[at++] = hex[octets[i] & 15];
    }
}
