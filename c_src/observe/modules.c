/* Modules, applications and the operating system. A native node loads no code. It has one
 * application, kv, without an environment. */
#include "observe/ask.h"
#include "observe/figures.h"

#include <inttypes.h>
#include <stdio.h>

#define DESCRIPTION "native buckets and registries"

/* ---- modules --------------------------------------------------------------------------------- */

/* Returns true if a function of the module may be called here. */
static bool is_known(const struct kv_process *self, struct kv_bytes module)
{
    const struct kv_world *world = kv_process_context(self);
    for (size_t i = 0; world->functions[i] != NULL; i++) {
        for (const struct kv_function *one = world->functions[i]; one->module != NULL; one++) {
            if (kv_bytes_is(module, one->module)) {
                return true;
            }
        }
    }
    return false;
}

/* {module, Module}, or {error, nofile}. */
static int run_ensure_loaded(struct kv_process *self, struct kv_reader arguments,
                             struct kv_buffer *value)
{
    struct kv_bytes module;
    int error = kv_read_atom(&arguments, &module);
    if (error == KV_OK) {
        bool known = is_known(self, module);
        kv_write_tuple(value, 2);
        kv_write_atom_text(value, known ? "module" : "error");
        kv_write_atom(value, known ? module : kv_bytes_text("nofile"));
    }
    return error;
}

/* {file, preloaded}, as for modules that are a part of the emulator, or false. */
static int run_is_loaded(struct kv_process *self, struct kv_reader arguments,
                         struct kv_buffer *value)
{
    struct kv_bytes module;
    int error = kv_read_atom(&arguments, &module);
    if (error == KV_OK && is_known(self, module)) {
        kv_write_tuple(value, 2);
        kv_write_atom_text(value, "file");
        kv_write_atom_text(value, "preloaded");
    } else if (error == KV_OK) {
        kv_write_bool(value, false);
    }
    return error;
}

static int run_which(struct kv_process *self, struct kv_reader arguments, struct kv_buffer *value)
{
    struct kv_bytes module;
    int error = kv_read_atom(&arguments, &module);
    if (error == KV_OK) {
        kv_write_atom_text(value, is_known(self, module) ? "preloaded" : "non_existing");
    }
    return error;
}

static int run_module_loaded(struct kv_process *self, struct kv_reader arguments,
                             struct kv_buffer *value)
{
    struct kv_bytes module;
    int error = kv_read_atom(&arguments, &module);
    if (error == KV_OK) {
        kv_write_bool(value, is_known(self, module));
    }
    return error;
}

static int run_function_exported(struct kv_process *self, struct kv_reader arguments,
                                 struct kv_buffer *value)
{
    struct kv_bytes module;
    struct kv_bytes function;
    uint32_t arity = 0;
    const struct kv_world *world = kv_process_context(self);
    if (kv_read_atom(&arguments, &module) != KV_OK ||
        kv_read_atom(&arguments, &function) != KV_OK || kv_read_u32(&arguments, &arity) != KV_OK) {
        return KV_ETYPE;
    }
    kv_write_bool(value, world->has_function(module, function, arity));
    return KV_OK;
}

/* ---- applications ---------------------------------------------------------------------------- */

/* [{kv, Description, Version}]. sasl is not in the list: Observer then says that there is no log to
 * show. */
static int run_applications(struct kv_process *self, struct kv_reader arguments,
                            struct kv_buffer *value)
{
    (void)self;
    (void)arguments;
    kv_write_list(value, 1);
    kv_write_tuple(value, 3);
    kv_write_atom_text(value, "kv");
    kv_write_string(value, DESCRIPTION);
    kv_write_string(value, KV_VERSION);
    kv_write_nil(value);
    return KV_OK;
}

/* The same with a time-out, which is checked and not needed. */
static int run_applications_timed(struct kv_process *self, struct kv_reader arguments,
                                  struct kv_buffer *value)
{
    int64_t timeout = 0;
    int error = kv_ask_read_timeout(&arguments, &timeout);
    return error == KV_OK ? run_applications(self, arguments, value) : error;
}

static void write_tagged(struct kv_buffer *value, const char *tag, const char *text)
{
    if (tag != NULL) {
        kv_write_tuple(value, 2);
        kv_write_atom_text(value, tag);
    }
    kv_write_string(value, text);
}

/* Writes vsn or description of kv, or `none` for anything else. */
static int write_key(struct kv_reader arguments, struct kv_buffer *value, const char *tag,
                     const char *none)
{
    struct kv_bytes application;
    struct kv_bytes key;
    if (kv_read_atom(&arguments, &application) != KV_OK ||
        kv_read_atom(&arguments, &key) != KV_OK) {
        return KV_ETYPE;
    }
    bool ours = kv_bytes_is(application, "kv");
    if (ours && kv_bytes_is(key, "vsn")) {
        write_tagged(value, tag, KV_VERSION);
    } else if (ours && kv_bytes_is(key, "description")) {
        write_tagged(value, tag, DESCRIPTION);
    } else {
        kv_write_atom_text(value, none);
    }
    return KV_OK;
}

/* No application and no key is another term than an atom. */
static int run_get_key(struct kv_process *self, struct kv_reader arguments, struct kv_buffer *value)
{
    (void)self;
    if (write_key(arguments, value, "ok", "undefined") != KV_OK) {
        kv_write_atom_text(value, "undefined");
    }
    return KV_OK;
}

static int run_spec(struct kv_process *self, struct kv_reader arguments, struct kv_buffer *value)
{
    (void)self;
    return write_key(arguments, value, NULL, "nil");
}

/* Application and key of Elixir's functions; no application of this node has an environment.
 * Erlang's functions take any terms. */
static int read_env(struct kv_reader *arguments)
{
    struct kv_bytes atom;
    int error = kv_read_atom(arguments, &atom);
    return error == KV_OK ? kv_read_atom(arguments, &atom) : error;
}

static int write_env(struct kv_reader arguments, struct kv_buffer *value, const char *none)
{
    int error = read_env(&arguments);
    if (error == KV_OK) {
        kv_write_atom_text(value, none);
    }
    return error;
}

static int write_default(struct kv_reader arguments, struct kv_buffer *value)
{
    struct kv_bytes given;
    int error = kv_read_any(&arguments, &given);
    if (error == KV_OK) {
        kv_write_term(value, given);
    }
    return error;
}

static int run_get_env(struct kv_process *self, struct kv_reader arguments, struct kv_buffer *value)
{
    (void)self;
    (void)arguments;
    kv_write_atom_text(value, "undefined");
    return KV_OK;
}

static int run_get_env_default(struct kv_process *self, struct kv_reader arguments,
                               struct kv_buffer *value)
{
    (void)self;
    (void)kv_read_any(&arguments, NULL);
    (void)kv_read_any(&arguments, NULL);
    return write_default(arguments, value);
}

static int run_elixir_get_env_default(struct kv_process *self, struct kv_reader arguments,
                                      struct kv_buffer *value)
{
    (void)self;
    int error = read_env(&arguments);
    return error == KV_OK ? write_default(arguments, value) : error;
}

static int run_elixir_get_env(struct kv_process *self, struct kv_reader arguments,
                              struct kv_buffer *value)
{
    (void)self;
    return write_env(arguments, value, "nil");
}

static int run_fetch_env(struct kv_process *self, struct kv_reader arguments,
                         struct kv_buffer *value)
{
    (void)self;
    return write_env(arguments, value, "error");
}

static int run_get_all_env(struct kv_process *self, struct kv_reader arguments,
                           struct kv_buffer *value)
{
    (void)self;
    (void)arguments;
    kv_write_nil(value);
    return KV_OK;
}

static int run_elixir_get_all_env(struct kv_process *self, struct kv_reader arguments,
                                  struct kv_buffer *value)
{
    struct kv_bytes application;
    (void)self;
    int error = kv_read_atom(&arguments, &application);
    if (error == KV_OK) {
        kv_write_nil(value);
    }
    return error;
}

/* {started, started} */
static int run_init_status(struct kv_process *self, struct kv_reader arguments,
                           struct kv_buffer *value)
{
    (void)self;
    (void)arguments;
    kv_write_tuple(value, 2);
    kv_write_atom_text(value, "started");
    kv_write_atom_text(value, "started");
    return KV_OK;
}

/* ---- the operating system -------------------------------------------------------------------- */

static void pid_text(const struct kv_process *self, char *to, size_t size)
{
    struct kv_figures figures;
    static const struct kv_totals none = {0};
    kv_figures_take(self, &none, &figures);
    (void)snprintf(to, size, "%" PRIu64, figures.stats.os_pid);
}

static int run_os_pid(struct kv_process *self, struct kv_reader arguments, struct kv_buffer *value)
{
    char text[24];
    (void)arguments;
    pid_text(self, text, sizeof text);
    kv_write_string(value, text);
    return KV_OK;
}

static int run_elixir_pid(struct kv_process *self, struct kv_reader arguments,
                          struct kv_buffer *value)
{
    char text[24];
    (void)arguments;
    pid_text(self, text, sizeof text);
    kv_write_binary_text(value, text);
    return KV_OK;
}

/* {unix, linux} and the like. */
static int run_os_type(struct kv_process *self, struct kv_reader arguments, struct kv_buffer *value)
{
    (void)self;
    (void)arguments;
    kv_write_tuple(value, 2);
    kv_write_atom_text(value, "unix");
    kv_write_atom_text(value, KV_OS_NAME);
    return KV_OK;
}

const struct kv_function kv_module_functions[] = {
    {"application", "get_all_env", run_get_all_env, 1, NULL, "`[]`"},
    {"application", "get_env", run_get_env, 2, NULL,
     "`undefined`: no application has an environment here"},
    {"application", "get_env", run_get_env_default, 3, NULL, "the default"},
    {"application", "get_key", run_get_key, 2, NULL,
     "`{ok, _}` for `vsn` and `description` of `kv`, else `undefined`"},
    {"application", "loaded_applications", run_applications, 0, NULL,
     "`[{kv, Description, Version}]`"},
    {"application", "which_applications", run_applications, 0, NULL,
     "`[{kv, Description, Version}]`"},
    {"application", "which_applications", run_applications_timed, 1, NULL, "the same"},
    {"code", "ensure_loaded", run_ensure_loaded, 1, NULL,
     "`{module, Module}` for a module of this list, else `{error, nofile}`"},
    {"code", "is_loaded", run_is_loaded, 1, NULL,
     "`{file, preloaded}` for a module of this list, else `false`"},
    {"code", "which", run_which, 1, NULL,
     "`preloaded` for a module of this list, else `non_existing`"},
    {"erlang", "function_exported", run_function_exported, 3, NULL,
     "`true` for the functions of this list"},
    {"erlang", "module_loaded", run_module_loaded, 1, NULL, "`true` for the modules of this list"},
    {"init", "get_status", run_init_status, 0, NULL, "`{started, started}`"},
    {"os", "getpid", run_os_pid, 0, NULL, "the process of the operating system, a charlist"},
    {"os", "type", run_os_type, 0, NULL, "`{unix, Name}`"},
    {"Elixir.Application", "fetch_env", run_fetch_env, 2, NULL, "`:error`"},
    {"Elixir.Application", "get_all_env", run_elixir_get_all_env, 1, NULL, "`[]`"},
    {"Elixir.Application", "get_env", run_elixir_get_env, 2, NULL, "`nil`"},
    {"Elixir.Application", "get_env", run_elixir_get_env_default, 3, NULL, "the default"},
    {"Elixir.Application", "loaded_applications", run_applications, 0, NULL,
     "as `application:loaded_applications/0`"},
    {"Elixir.Application", "spec", run_spec, 2, NULL,
     "`vsn` and `description` of `kv`, charlists, else `nil`"},
    {"Elixir.Application", "started_applications", run_applications, 0, NULL,
     "as `application:which_applications/0`"},
    {"Elixir.Application", "started_applications", run_applications_timed, 1, NULL, "the same"},
    {"Elixir.Code", "ensure_loaded", run_ensure_loaded, 1, NULL, "as `code:ensure_loaded/1`"},
    {"Elixir.Code", "ensure_loaded?", run_module_loaded, 1, NULL, "as `erlang:module_loaded/1`"},
    {"Elixir.Code", "loaded?", run_module_loaded, 1, NULL, "as `erlang:module_loaded/1`"},
    {"Elixir.Kernel", "function_exported?", run_function_exported, 3, NULL,
     "as `erlang:function_exported/3`"},
    {"Elixir.System", "pid", run_elixir_pid, 0, NULL,
     "the process of the operating system, a binary"},
    {.module = NULL},
};
