/* SPDX-License-Identifier: Apache-2.0 */

/* signal - signals as events of the loop, by signalfd. */

#ifndef CN_EVENT_SIGNAL_H
#define CN_EVENT_SIGNAL_H

#include "event/loop.h"

typedef struct cn_signals_s cn_signals_t;

/*
 * Blocks the listed signals (0 ends the list) and calls on_signal in the loop for each that
 * arrives.  SIGPIPE is ignored as well.  NULL when the kernel or memory refuses.
 */
cn_signals_t *cn_signals_open(cn_loop_t *loop, const int *numbers,
    void (*on_signal)(void *owner, int number), void *owner) CN_MUST_USE;

/* Puts the signal mask back; no event follows.  NULL does nothing. */
void cn_signals_close(cn_signals_t *signals);

#endif
