// SPDX-License-Identifier: MIT OR Apache-2.0
#include "curl_load.h"

#include <dlfcn.h>
#include <pthread.h>

static curl_library library;
static bool loaded;

static void load(void)
{
    void *file = dlopen("libcurl.so.4", RTLD_NOW | RTLD_LOCAL);
    if (file == NULL) {
        return;
    }
    bool whole = true;
#define FR_CURL_LOAD(name)                                                                         \
    library.name = (__typeof__(library.name))dlsym(file, "curl_" #name);                           \
    whole = whole && library.name != NULL;
    FR_CURL_FUNCTIONS(FR_CURL_LOAD)
#undef FR_CURL_LOAD
    loaded = whole && library.global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK;
}

const curl_library *curl_loaded(fr_error *err)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, load);
    if (!loaded) {
        (void)!fr_fail(err, FR_IO, "fetch: libcurl (Debian's libcurl4) is missing or too old");
        return NULL;
    }
    return &library;
}
