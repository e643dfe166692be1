/* SPDX-License-Identifier: Apache-2.0 */

/*
 * flags - Envoy's response flags, as %RESPONSE_FLAGS% and the metric label response_flags print
 * them.  X(ID, "SHORT") in print order.
 */

#ifndef CN_FILTER_FLAGS_H
#define CN_FILTER_FLAGS_H

#define CN_RESPONSE_FLAGS(X)                                                                      \
    X(LH) X(UH) X(UT) X(LR) X(UR) X(UF) X(UC) X(UO) X(NR) X(DI) X(FI) X(RL) X(UAEX) X(RLSE)       \
    X(DC) X(URX) X(SI) X(IH) X(DPE) X(UMSDR) X(RFCF) X(NFCF) X(DT) X(UPE) X(NC) X(OM) X(DF)       \
    X(DO) X(DR)

enum {
#define X(name) CN_FLAG_BIT_##name,
    CN_RESPONSE_FLAGS(X)
#undef X
    CN_FLAG_BIT_COUNT
};

#define CN_FLAG(name)  (1u << CN_FLAG_BIT_##name)

#endif
