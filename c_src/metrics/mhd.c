#include "metrics/mhd.h"

#include <dlfcn.h>
#include <string.h>

/* POSIX lets a pointer to an object be that of a function; C does not, so it is copied. */
static bool find(void *library, const char *name, void *function)
{
    void *found = dlsym(library, name);
    memcpy(function, &found, sizeof found);
    return found != NULL;
}

bool kv_mhd_load(struct kv_mhd *mhd)
{
    *mhd = (struct kv_mhd){.library = dlopen(KV_MHD_LIBRARY, RTLD_NOW | RTLD_LOCAL)};
    bool all = mhd->library != NULL;
#define KV_MHD_FIND(name) all = all && find(mhd->library, "MHD_" #name, &mhd->name);
    KV_MHD_FUNCTIONS(KV_MHD_FIND)
#undef KV_MHD_FIND
    if (!all) {
        kv_mhd_unload(mhd);
    }
    return all;
}

void kv_mhd_unload(struct kv_mhd *mhd)
{
    if (mhd->library != NULL) {
        (void)dlclose(mhd->library);
        mhd->library = NULL;
    }
}
