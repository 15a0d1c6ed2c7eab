#include "metrics/mhd.h"

#include "host/library.h"

bool kv_mhd_load(struct kv_mhd *mhd)
{
#define KV_MHD_FUNCTION(name) {"MHD_" #name, offsetof(struct kv_mhd, name)},
    static const struct kv_library_function functions[] = {KV_MHD_FUNCTIONS(KV_MHD_FUNCTION)};
#undef KV_MHD_FUNCTION
    *mhd = (struct kv_mhd){.library = NULL};
    mhd->library =
        kv_library_load(KV_MHD_LIBRARY, functions, sizeof functions / sizeof functions[0], mhd);
    return mhd->library != NULL;
}

void kv_mhd_unload(struct kv_mhd *mhd)
{
    kv_library_unload(mhd->library);
    mhd->library = NULL;
}
