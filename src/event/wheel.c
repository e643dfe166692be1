/* SPDX-License-Identifier: Apache-2.0 */

/*
 * wheel - the hierarchical timer wheel.
 *
 * It has one level for each 6 bits of a time in ms.  A timer hangs at the level of the highest
 * bits in which its time differs from the wheel's, in the slot that those bits of its time name:
 *
 *   wheel time   ... | 000010 | 110001 |        level 0: due within this run of 64 ms, by the ms
 *   timer        ... | 000101 | 001100 |   -->  level 1, slot 5: moves down when time gets there
 *
 * So every timer of a lower level is due before every one of a higher, a level's first used slot is
 * its next, and a timer moves down at most once a level.
 */

#include "event/wheel.h"

#define NEVER  CN_WHEEL_NEVER


void
cn_wheel_init(cn_wheel_t *wheel, uint64_t now_ms)
{
    wheel->wheel_ms = now_ms;
    cn_list_init(&wheel->due);

    for (size_t i = 0; i < CN_WHEEL_LEVELS; i++) {
        wheel->levels[i].used = 0;

        for (size_t j = 0; j < CN_WHEEL_SLOTS; j++) {
            cn_list_init(&wheel->levels[i].slots[j]);
        }
    }
}


static void
unlink_all(cn_list_t *list)
{
    while (!cn_list_empty(list)) {
        cn_list_remove(list->next);
    }
}


void
cn_wheel_clear(cn_wheel_t *wheel)
{
    unlink_all(&wheel->due);

    for (size_t i = 0; i < CN_WHEEL_LEVELS; i++) {
        for (size_t j = 0; j < CN_WHEEL_SLOTS; j++) {
            unlink_all(&wheel->levels[i].slots[j]);
        }
    }
}


static inline unsigned
highest_bit(uint64_t value)
{
    return 63u - (unsigned) __builtin_clzll(value);
}


/*
 * Where a timer hangs: its deadline rounded up to less than 1 % of what is left, so that timers of
 * about the same time share one wake-up.
 */
static uint64_t
slot_time(uint64_t deadline_ms, uint64_t now_ms)
{
    uint64_t  left = deadline_ms > now_ms ? deadline_ms - now_ms : 0;
    uint64_t  mask;

    if (left < 256) {
        return deadline_ms;
    }

    mask = ((uint64_t) 1 << (highest_bit(left) - 7)) - 1;

    return (deadline_ms + mask) & ~mask;
}


/* Hangs an unlinked timer by its slot_ms. */
static void
hang(cn_wheel_t *wheel, cn_timer_t *timer)
{
    uint64_t  at = timer->slot_ms;
    unsigned  level, slot;

    if (at <= wheel->wheel_ms) {
        cn_list_append(&wheel->due, &timer->link);
        return;
    }

    level = highest_bit(at ^ wheel->wheel_ms) / CN_WHEEL_BITS;
    slot = (unsigned) (at >> (level * CN_WHEEL_BITS)) & (CN_WHEEL_SLOTS - 1);

    wheel->levels[level].used |= (uint64_t) 1 << slot;
    cn_list_append(&wheel->levels[level].slots[slot], &timer->link);
}


/* The next time at which the wheel has something to do, and its slot; NEVER when it is empty. */
static uint64_t
find_next(cn_wheel_t *wheel, unsigned *at_level, unsigned *at_slot)
{
    for (unsigned i = 0; i < CN_WHEEL_LEVELS; i++) {
        cn_wheel_level_t  *level = &wheel->levels[i];

        while (level->used != 0) {
            unsigned  slot = (unsigned) __builtin_ctzll(level->used);
            unsigned  shift = i * CN_WHEEL_BITS;
            uint64_t  above;

            if (cn_list_empty(&level->slots[slot])) {
                level->used &= level->used - 1;
                continue;
            }

            above = shift + CN_WHEEL_BITS >= 64 ? 0 : ~(uint64_t) 0 << (shift + CN_WHEEL_BITS);
            *at_level = i;
            *at_slot = slot;

            return (wheel->wheel_ms & above) | ((uint64_t) slot << shift);
        }
    }

    return NEVER;
}


/* Advances the wheel to now: what is due goes to due, what was put off is hung again. */
static void
advance(cn_wheel_t *wheel, uint64_t now_ms)
{
    cn_list_t  taken;
    unsigned   level = 0, slot = 0;
    uint64_t   at;

    cn_list_init(&taken);

    while ((at = find_next(wheel, &level, &slot)) <= now_ms) {
        wheel->wheel_ms = at;
        wheel->levels[level].used &= ~((uint64_t) 1 << slot);
        cn_list_splice(&taken, &wheel->levels[level].slots[slot]);

        while (!cn_list_empty(&taken)) {
            cn_timer_t  *timer = CN_LIST_ITEM(taken.next, cn_timer_t, link);

            cn_list_remove(&timer->link);

            if (timer->deadline_ms > timer->slot_ms) {
                timer->slot_ms = slot_time(timer->deadline_ms, now_ms);
            }

            hang(wheel, timer);
        }
    }

    if (wheel->wheel_ms < now_ms) {
        wheel->wheel_ms = now_ms;
    }
}


uint64_t
cn_wheel_next(cn_wheel_t *wheel)
{
    unsigned  level, slot;

    return cn_list_empty(&wheel->due) ? find_next(wheel, &level, &slot) : 0;
}


void
cn_wheel_set(cn_wheel_t *wheel, cn_timer_t *timer, uint64_t deadline_ms, uint64_t now_ms)
{
    uint64_t  slot_ms = slot_time(deadline_ms, now_ms);

    timer->deadline_ms = deadline_ms;

    if (cn_timer_armed(timer)) {
        if (timer->slot_ms <= slot_ms) {
            return;                     /* it is looked at in time, and then hung by its deadline */
        }

        cn_list_remove(&timer->link);
    }

    timer->slot_ms = slot_ms;
    hang(wheel, timer);
}


void
cn_wheel_run(cn_wheel_t *wheel, uint64_t now_ms)
{
    cn_list_t  firing;

    advance(wheel, now_ms);

    /* those that are set meanwhile to run at once run in the next turn */
    cn_list_init(&firing);
    cn_list_splice(&firing, &wheel->due);

    while (!cn_list_empty(&firing)) {
        cn_timer_t  *timer = CN_LIST_ITEM(firing.next, cn_timer_t, link);

        cn_list_remove(&timer->link);

        if (timer->deadline_ms > now_ms) {
            timer->slot_ms = slot_time(timer->deadline_ms, now_ms);
            hang(wheel, timer);
            continue;
        }

        timer->run(timer);
    }
}
