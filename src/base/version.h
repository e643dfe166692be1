/* SPDX-License-Identifier: Apache-2.0 */

/* The version of cairn, as -v prints it and as the server header may. */

#ifndef CN_BASE_VERSION_H
#define CN_BASE_VERSION_H

#define CN_VERSION  "0.1.0"

#endif
