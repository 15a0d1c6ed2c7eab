/* Pins: values that stay valid while they are being sent. */
#include "store/pages.h"

#include "base/assert.h"

/* The first page of the run that contains this address, or NULL if no run does. */
static struct kv_page *run_at(const struct kv_arena *arena, const void *data)
{
    struct kv_page *page = &arena->pages[kv_page_of(kv_offset(arena, data))];
    while (page->kind == KV_PAGE_INNER) {
        page--;
    }
    return page->kind == KV_PAGE_RUN || page->kind == KV_PAGE_DOOMED ? page : NULL;
}

bool kv_arena_pin(struct kv_arena *arena, const void *data)
{
    struct kv_page *page = run_at(arena, data);
    if (page != NULL) {
        page->run.pins++;
    }
    return page != NULL;
}

void kv_arena_unpin(struct kv_arena *arena, const void *data)
{
    struct kv_page *page = run_at(arena, data);
    kv_assert(page != NULL && page->run.pins > 0);
    page->run.pins--;
    if (page->run.pins == 0 && page->kind == KV_PAGE_DOOMED) {
        kv_pages_give(arena, (uint32_t)(page - arena->pages), page->run.pages);
    }
}
