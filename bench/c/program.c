#include "program.h"

#include "fail.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { ARGUMENTS_MAX = 32, LINE_MAX_BYTES = 1024 };

static void become(const char *path, const char *node, char **extra, int input, int output)
{
    char *arguments[ARGUMENTS_MAX + 6] = {(char *)path, "--name", (char *)node, "--bind",
                                          PROGRAM_HOST};
    for (int i = 0; extra && extra[i] && i < ARGUMENTS_MAX; i++) {
        arguments[5 + i] = extra[i];
    }
    dup2(input, STDIN_FILENO);
    dup2(output, STDOUT_FILENO);
    for (int fd = STDERR_FILENO + 1; fd < 64; fd++) {
        close(fd);
    }
    prctl(PR_SET_PDEATHSIG, SIGKILL); /* on its leash it ignores others */
    execv(path, arguments);
    fprintf(stderr, "%s: %s\n", path, strerror(errno));
    _exit(127);
}

/* Byte by byte: what comes behind the line stays in the pipe. */
static void read_line(int fd, char *line)
{
    size_t length = 0;
    while (length + 1 < LINE_MAX_BYTES && read(fd, line + length, 1) == 1 && line[length] != '\n') {
        length++;
    }
    line[length] = '\0';
}

static bool begins(const char *line, const char *word)
{
    return strncmp(line, word, strlen(word)) == 0;
}

static void await_ready(struct program *program, const char *path)
{
    char line[LINE_MAX_BYTES];
    do {
        read_line(program->output, line);
        if (!begins(line, "ready ") && !begins(line, "log ") && !begins(line, "recovering ")) {
            FAIL("%s did not start: %s", path, *line ? line : "it ended without a word");
        }
    } while (!begins(line, "ready "));
    const char *port = strstr(line, " port=");
    if (!port) {
        FAIL("%s says no port: %s", path, line);
    }
    program->port = (uint16_t)strtoul(port + 6, NULL, 10);
}

void program_start(struct program *program, const char *path, const char *node, char **extra)
{
    int input[2];
    int output[2];
    if (pipe(input) != 0 || pipe(output) != 0) {
        FAIL_ERRNO("pipe");
    }
    program->pid = fork();
    if (program->pid < 0) {
        FAIL_ERRNO("fork");
    }
    if (program->pid == 0) {
        become(path, node, extra, input[0], output[1]);
    }
    close(input[0]);
    close(output[1]);
    program->input = input[1];
    program->output = output[0];
    static const char cookie[] = PROGRAM_COOKIE "\n";
    if (write(program->input, cookie, sizeof(cookie) - 1) < 0) {
        FAIL_ERRNO("the standard input of the program");
    }
    await_ready(program, path);
}

void program_stop(struct program *program)
{
    close(program->input);
    waitpid(program->pid, NULL, 0);
    close(program->output);
}

/* The scheduler's own account, which is exact where that of times(2) counts in clock ticks of 10
 * ms. */
/* One figure of a line of them: "used waited times". */
static uint64_t schedule_figure(int schedule, int which)
{
    char text[96] = "";
    char *at = text;
    uint64_t figure = 0;
    if (pread(schedule, text, sizeof(text) - 1, 0) <= 0) {
        return 0;
    }
    for (int i = 0; i <= which; i++) {
        figure = strtoull(at, &at, 10);
    }
    return figure;
}

uint64_t processor_time(pid_t pid)
{
    char path[64];
    snprintf(path, sizeof(path), "/proc/%d/task", (int)pid);
    DIR *threads = opendir(path);
    if (!threads) {
        FAIL_ERRNO(path);
    }
    uint64_t sum = 0;
    for (struct dirent *entry; (entry = readdir(threads));) {
        char file[sizeof(path) + sizeof(entry->d_name) + 16];
        snprintf(file, sizeof(file), "%s/%s/schedstat", path, entry->d_name);
        int schedule = entry->d_name[0] == '.' ? -1 : open(file, O_RDONLY | O_CLOEXEC);
        if (schedule >= 0) {
            sum += schedule_figure(schedule, 0);
            close(schedule);
        }
    }
    closedir(threads);
    return sum;
}

int schedule_open(pid_t pid)
{
    char path[64];
    snprintf(path, sizeof(path), "/proc/%d/schedstat", (int)pid);
    int schedule = open(path, O_RDONLY | O_CLOEXEC);
    if (schedule < 0) {
        FAIL_ERRNO(path);
    }
    return schedule;
}

uint64_t schedule_waited(int schedule)
{
    return schedule_figure(schedule, 1);
}

uint64_t now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000000000U + (uint64_t)time.tv_nsec;
}
