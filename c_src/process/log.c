
#include <kv/log.h>

#include "process/state.h"

#include <stdarg.h>
#include <stdio.h>

enum { LOG_LINE_MAX = 512 };

void kv_log_line(struct kv_runtime *runtime, enum kv_log_level level, const char *format, ...)
{
    char line[LOG_LINE_MAX];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    runtime->sink.log(runtime->sink.context, level, line);
}
