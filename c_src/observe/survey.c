#include "observe/survey.h"

void kv_findings_count(void *findings, const struct kv_process *process)
{
    struct kv_totals *totals = &((struct kv_findings *)findings)->totals;
    struct kv_process_info info;
    kv_process_inspect(process, &info);
    totals->process_records += info.memory - info.state;
    if (info.view != NULL) {
        totals->tables++;
        totals->table_bytes += info.state;
    } else {
        totals->processes++;
        totals->process_bytes += info.state;
    }
}

int kv_inquiry_begin(struct kv_process *self, const struct kv_survey *survey,
                     struct kv_reader arguments, struct kv_inquiry *inquiry)
{
    inquiry->survey = survey;
    if (survey->begin != NULL && survey->begin(self, arguments, inquiry) != KV_OK) {
        inquiry->survey = NULL;
        return KV_ETYPE;
    }
    if (survey->visit != NULL) {
        kv_walk_begin(&inquiry->walk, kv_process_runtime(self));
    }
    return KV_OK;
}

bool kv_inquiry_step(struct kv_process *self, struct kv_inquiry *inquiry, struct kv_buffer *value)
{
    const struct kv_survey *survey = inquiry->survey;
    if (kv_walk_step(&inquiry->walk, KV_SURVEY_SLICE, survey->visit, &inquiry->findings)) {
        return false;
    }
    survey->finish(self, &inquiry->findings, value);
    return true;
}

void kv_inquiry_end(struct kv_inquiry *inquiry)
{
    kv_walk_end(&inquiry->walk);
    kv_buffer_free(&inquiry->findings.list.elements);
    kv_buffer_free(&inquiry->question.call);
}
