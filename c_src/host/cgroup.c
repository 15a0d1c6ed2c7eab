#include "host/cgroup.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NO_LIMIT_FROM (UINT64_C(1) << 60) /* v1 writes "no limit" as 2^63 less a page */

enum { VERSION_1 = 1, VERSION_2 = 2 };

/* A search for the least limit. */
struct search {
    const char *root;
    struct kv_cgroup_limit *limit;
    char *groups[VERSION_2 + 1]; /* the path of the group in each version; NULL: there is none */
};

/* ---- limits ---------------------------------------------------------------------------------- */

/* Takes the number of a file, if it is less than the limit so far. */
static void take_limit(struct search *search, const char *directory, const char *name)
{
    char path[KV_CGROUP_PATH_MAX];
    char text[32] = "";
    if (snprintf(path, sizeof path, "%s/%s", directory, name) >= (int)sizeof path) {
        return;
    }
    FILE *file = fopen(path, "re");
    if (file == NULL) {
        return;
    }
    char *end = text;
    bool read = fgets(text, sizeof text, file) != NULL;
    (void)fclose(file);
    errno = 0;
    unsigned long long bytes = read ? strtoull(text, &end, 10) : 0;
    if (end != text && text[0] != '-' && errno == 0 && bytes < NO_LIMIT_FROM &&
        bytes < search->limit->bytes) {
        search->limit->bytes = bytes;
        (void)snprintf(search->limit->file, sizeof search->limit->file, "%s", path);
    }
}

static void take_limits(struct search *search, int version, const char *directory)
{
    if (version == VERSION_2) {
        take_limit(search, directory, "memory.max");
        take_limit(search, directory, "memory.high");
    } else {
        take_limit(search, directory, "memory.limit_in_bytes");
    }
}

/* The part of a group's path below the root of a mount. Of a group that is not below it, as in a
 * container that sees only its own groups, the mount itself counts: "". */
static const char *below(const char *group, const char *mount_root)
{
    size_t length = strcmp(mount_root, "/") == 0 ? 0 : strlen(mount_root);
    bool is_below =
        strncmp(group, mount_root, length) == 0 && (group[length] == '/' || group[length] == '\0');
    return is_below && strstr(group, "/..") == NULL ? group + length : "";
}

/* The group and all groups above it, up to the mount. */
static void search_mount(struct search *search, int version, const char *mount_root,
                         const char *mount_point)
{
    char path[KV_CGROUP_PATH_MAX];
    const char *group = search->groups[version];
    if (group == NULL) {
        return;
    }
    int top = snprintf(path, sizeof path, "%s%s", search->root, mount_point);
    int length =
        snprintf(path, sizeof path, "%s%s%s", search->root, mount_point, below(group, mount_root));
    if (length >= (int)sizeof path) {
        return;
    }
    take_limits(search, version, path);
    for (char *end = path + length; end > path + top; end--) {
        if (*end == '/') {
            *end = '\0';
            take_limits(search, version, path);
        }
    }
}

/* ---- /proc ----------------------------------------------------------------------------------- */

/* Returns true if `name` is one of the words between commas. */
static bool has_word(const char *words, const char *name)
{
    size_t length = strlen(name);
    for (const char *at = words; at != NULL; at = strchr(at, ',')) {
        at += *at == ',' ? 1 : 0;
        if (strncmp(at, name, length) == 0 && (at[length] == ',' || at[length] == '\0')) {
            return true;
        }
    }
    return false;
}

/* Hierarchy:Controllers:Path. Version 2 has the hierarchy 0 and no controllers. */
static void read_group(struct search *search, char *line)
{
    char *controllers = strchr(line, ':');
    char *path = controllers == NULL ? NULL : strchr(controllers + 1, ':');
    if (path == NULL) {
        return;
    }
    *controllers++ = '\0';
    *path++ = '\0';
    int version = strcmp(line, "0") == 0 && *controllers == '\0' ? VERSION_2
                  : has_word(controllers, "memory")              ? VERSION_1
                                                                 : 0;
    if (version != 0 && search->groups[version] == NULL) {
        search->groups[version] = strdup(path);
    }
}

static bool is_octal(char digit)
{
    return digit >= '0' && digit <= '7';
}

/* mountinfo writes space, tab, newline and backslash as \ooo. */
static void unescape(char *text)
{
    char *to = text;
    for (const char *from = text; *from != '\0'; to++) {
        if (*from == '\\' && is_octal(from[1]) && is_octal(from[2]) && is_octal(from[3])) {
            *to = (char)((from[1] - '0') * 64 + (from[2] - '0') * 8 + (from[3] - '0'));
            from += 4;
        } else {
            *to = *from++;
        }
    }
    *to = '\0';
}

/* Id Parent Device Root MountPoint Options ... - Type Source SuperOptions */
static void read_mount(struct search *search, char *line)
{
    enum { ROOT = 3, POINT, FIELDS };
    char *fields[FIELDS] = {NULL};
    char *rest = line;
    char type[16] = "";
    char options[1024] = "";
    const char *behind = strstr(line, " - ");
    if (behind == NULL || sscanf(behind, " - %15s %*s %1023s", type, options) < 1) {
        return;
    }
    for (int i = 0; i < FIELDS; i++) {
        fields[i] = strtok_r(rest, " ", &rest);
        if (fields[i] == NULL) {
            return;
        }
        unescape(fields[i]);
    }
    if (strcmp(type, "cgroup2") == 0) {
        search_mount(search, VERSION_2, fields[ROOT], fields[POINT]);
    } else if (strcmp(type, "cgroup") == 0 && has_word(options, "memory")) {
        search_mount(search, VERSION_1, fields[ROOT], fields[POINT]);
    }
}

static void each_line(struct search *search, const char *name,
                      void (*read)(struct search *search, char *line))
{
    char path[KV_CGROUP_PATH_MAX];
    char *line = NULL;
    size_t capacity = 0;
    (void)snprintf(path, sizeof path, "%s%s", search->root, name);
    FILE *file = fopen(path, "re");
    if (file == NULL) {
        return;
    }
    while (getline(&line, &capacity, file) > 0) {
        line[strcspn(line, "\n")] = '\0';
        read(search, line);
    }
    free(line);
    (void)fclose(file);
}

void kv_cgroup_find_limit(const char *root, struct kv_cgroup_limit *limit)
{
    struct search search = {.root = root, .limit = limit};
    *limit = (struct kv_cgroup_limit){.bytes = UINT64_MAX};
    each_line(&search, "/proc/self/cgroup", read_group);
    each_line(&search, "/proc/self/mountinfo", read_mount);
    for (int version = VERSION_1; version <= VERSION_2; version++) {
        free(search.groups[version]);
    }
}
