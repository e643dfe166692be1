/* SPDX-License-Identifier: Apache-2.0 */

/*
 * random - a fast generator per process for choices, and the kernel's for secrets and identifiers.
 */

#ifndef CN_BASE_RANDOM_H
#define CN_BASE_RANDOM_H

#include "base/status.h"

/* xoshiro256++, seeded from the kernel at first use and anew after a fork. */
uint64_t cn_random(void);

/* Uniform in 0..bound-1; bound > 0. */
uint64_t cn_random_below(uint64_t bound);

/* True for ppm of a million draws; 0 never, 1000000 always. */
bool cn_random_chance(uint32_t ppm);

/* From getrandom(2); aborts if the kernel has none. */
void cn_random_secret(void *out, size_t len);

/* A version 4 UUID (RFC 9562) as 36 octets of text, no NUL. */
void cn_random_uuid(char out[36]);

#endif
