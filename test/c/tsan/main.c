#include "tsan/races.h"

#include <stdio.h>
#include <stdlib.h>

_Noreturn void race_failed(const char *file, int line, const char *condition)
{
    (void)fprintf(stderr, "%s:%d: does not hold: %s\n", file, line, condition);
    abort();
}

static void run(const char *title, void (*test)(void))
{
    test();
    (void)printf("  no race: %s\n", title);
    (void)fflush(stdout);
}

int main(void)
{
    run("readers of an arena, while tables come, change and go", race_store);
    run("calls of the library by many threads, while arenas are opened and closed", race_library);
    run("slots of a lane, while their askers withdraw and leave", race_lane);
    run("memory that a thread prepares ahead of need", race_memory);
    run("a disk that writes log and checkpoints, while the loop asks for more", race_disk);
    return 0;
}
