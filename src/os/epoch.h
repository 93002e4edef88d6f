// SPDX-License-Identifier: MIT OR Apache-2.0
/** Grace periods by epochs, in plain atomics that ThreadSanitizer understands. The room behind
 *  <fr/rcu.h> when it watches; compiled and tested always. Same rules as there.
 *
 *  thread   any; readers registered */
#pragma once

#include <fr/base.h>

void fr_epoch_register_thread(void);
void fr_epoch_unregister_thread(void);
void fr_epoch_read_lock(void);
void fr_epoch_read_unlock(void);
void fr_epoch_retire(void *pointer, void (*free_fn)(void *));
void fr_epoch_barrier(void);
