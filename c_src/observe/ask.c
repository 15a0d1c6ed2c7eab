/* OTP: lib/stdlib/src/gen_server.erl, call/2,3 and cast/2; gen.erl, do_call/4. Elixir: lib/elixir/
 * lib/gen_server.ex, call/3. */
#include "observe/ask.h"

#include "observe/functions.h"
#include "process/runtime.h"

#define ANSWER "$kv_answer"

enum { USUAL_TIMEOUT = 5000, NO_TIMEOUT = -1 }; /* milliseconds */

/* ---- the process to ask ---------------------------------------------------------------------- */

/* A pid that no process has: a monitor on it fires with noproc. */
static struct kv_pid nobody(const struct kv_process *self)
{
    struct kv_pid pid = kv_process_pid(self);
    pid.id = 0;
    pid.serial = 0;
    return pid;
}

/* Name, or {Name, Node} with the name of this node. */
static int read_name(struct kv_bytes server, const struct kv_process *self, struct kv_bytes *name)
{
    struct kv_bytes node = kv_bytes(NULL, 0);
    struct kv_reader reader = kv_reader(server);
    if (kv_read_tuple_of(&reader, 2) != KV_OK) {
        return kv_read_atom(&reader, name);
    }
    if (kv_read_atom(&reader, name) != KV_OK || kv_read_atom(&reader, &node) != KV_OK) {
        return KV_ETYPE;
    }
    return kv_bytes_equal(node, kv_runtime_node(kv_process_runtime(self))) ? KV_OK : KV_ETYPE;
}

int kv_ask_read_server(struct kv_reader *arguments, const struct kv_process *self,
                       struct kv_pid *pid)
{
    struct kv_bytes server = kv_bytes(NULL, 0);
    struct kv_bytes name = kv_bytes(NULL, 0);
    const struct kv_runtime *runtime = kv_process_runtime(self);
    if (kv_read_pid(arguments, pid) == KV_OK) {
        return kv_bytes_equal(pid->node, kv_runtime_node(runtime)) ? KV_OK : KV_ETYPE;
    }
    if (kv_read_any(arguments, &server) != KV_OK || read_name(server, self, &name) != KV_OK) {
        return KV_ETYPE;
    }
    if (!kv_whereis(runtime, name, pid)) {
        *pid = nobody(self);
    }
    return KV_OK;
}

int kv_ask_read_timeout(struct kv_reader *arguments, int64_t *timeout)
{
    if (kv_read_this_atom(arguments, "infinity") == KV_OK) {
        *timeout = NO_TIMEOUT;
        return KV_OK;
    }
    return kv_read_i64(arguments, timeout) == KV_OK && *timeout >= 0 && *timeout <= UINT32_MAX
               ? KV_OK
               : KV_ETYPE;
}

/* ---- calls ----------------------------------------------------------------------------------- */

/* {'$gen_call', {Self, Tag}, Request}: the answer is {Tag, Answer}. */
static void send_request(struct kv_process *self, const struct kv_pid *to, struct kv_bytes request)
{
    struct kv_pid own = kv_process_pid(self);
    struct kv_buffer message = KV_BUFFER_INIT;
    kv_write_tuple(&message, 3);
    kv_write_atom_text(&message, "$gen_call");
    kv_write_tuple(&message, 2);
    kv_write_pid(&message, &own);
    kv_write_atom_text(&message, ANSWER);
    kv_write_term(&message, request);
    kv_send(self, to, kv_buffer_bytes(&message));
    kv_buffer_free(&message);
}

/* Module:call(Server, Request), or with a time-out. Elixir's exit always names the time-out. */
static int ask(struct kv_process *self, struct kv_reader arguments, struct kv_inquiry *inquiry,
               const char *module, bool timed)
{
    struct kv_question *question = &inquiry->question;
    struct kv_pid to;
    struct kv_bytes request = kv_bytes(NULL, 0);
    int64_t timeout = USUAL_TIMEOUT;
    const uint8_t *first = arguments.data + arguments.offset;
    if (kv_ask_read_server(&arguments, self, &to) != KV_OK ||
        kv_read_any(&arguments, &request) != KV_OK ||
        (timed && kv_ask_read_timeout(&arguments, &timeout) != KV_OK)) {
        return KV_ETYPE;
    }
    bool shows_usual = !timed && kv_bytes_is(kv_bytes_text(module), "Elixir.GenServer");
    size_t length = (size_t)(arguments.data + arguments.offset - first);
    kv_write_tuple(&question->call, 3);
    kv_write_atom_text(&question->call, module);
    kv_write_atom_text(&question->call, "call");
    kv_write_list(&question->call, timed || shows_usual ? 3 : 2);
    kv_write_term(&question->call, kv_bytes(first, length));
    if (shows_usual) {
        kv_write_u64(&question->call, USUAL_TIMEOUT);
    }
    kv_write_nil(&question->call);
    question->asked = true;
    (void)kv_monitor(self, &to);
    send_request(self, &to, request);
    if (timeout != NO_TIMEOUT) {
        (void)kv_timer_start(self, (uint64_t)timeout, KV_ASK_TIMER);
    }
    return KV_OK;
}

static int call_2(struct kv_process *self, struct kv_reader arguments, struct kv_inquiry *inquiry)
{
    return ask(self, arguments, inquiry, "gen_server", false);
}

static int call_3(struct kv_process *self, struct kv_reader arguments, struct kv_inquiry *inquiry)
{
    return ask(self, arguments, inquiry, "gen_server", true);
}

static int elixir_call_2(struct kv_process *self, struct kv_reader arguments,
                         struct kv_inquiry *inquiry)
{
    return ask(self, arguments, inquiry, "Elixir.GenServer", false);
}

static int elixir_call_3(struct kv_process *self, struct kv_reader arguments,
                         struct kv_inquiry *inquiry)
{
    return ask(self, arguments, inquiry, "Elixir.GenServer", true);
}

static const struct kv_survey gen_call = {.begin = call_2};
static const struct kv_survey gen_call_timed = {.begin = call_3};
static const struct kv_survey elixir_call = {.begin = elixir_call_2};
static const struct kv_survey elixir_call_timed = {.begin = elixir_call_3};

void kv_ask_dead(struct kv_process *self, const struct kv_pid *dead, struct kv_inquiry *inquiry,
                 const char *module, const char *function, struct kv_bytes arguments,
                 uint32_t count)
{
    struct kv_question *question = &inquiry->question;
    kv_write_tuple(&question->call, 3);
    kv_write_atom_text(&question->call, module);
    kv_write_atom_text(&question->call, function);
    kv_write_list(&question->call, count);
    kv_write_term(&question->call, arguments);
    kv_write_nil(&question->call);
    question->asked = true;
    (void)kv_monitor(self, dead);
}

bool kv_ask_is_answer(struct kv_bytes message, struct kv_bytes *answer)
{
    struct kv_reader reader = kv_reader(message);
    return kv_read_tuple_of(&reader, 2) == KV_OK && kv_read_this_atom(&reader, ANSWER) == KV_OK &&
           kv_read_any(&reader, answer) == KV_OK;
}

void kv_ask_write_exit(const struct kv_question *question, struct kv_bytes reason,
                       struct kv_buffer *to)
{
    kv_write_tuple(to, 2);
    kv_write_term(to, reason);
    kv_write_term(to, kv_buffer_bytes(&question->call));
}

/* ---- casts ----------------------------------------------------------------------------------- */

static int run_cast(struct kv_process *self, struct kv_reader arguments, struct kv_buffer *value)
{
    struct kv_pid to;
    struct kv_bytes request = kv_bytes(NULL, 0);
    int error = kv_ask_read_server(&arguments, self, &to);
    if (error != KV_OK || kv_read_any(&arguments, &request) != KV_OK) {
        return KV_ETYPE;
    }
    struct kv_buffer message = KV_BUFFER_INIT;
    kv_write_tuple(&message, 2);
    kv_write_atom_text(&message, "$gen_cast");
    kv_write_term(&message, request);
    kv_send(self, &to, kv_buffer_bytes(&message));
    kv_buffer_free(&message);
    kv_write_atom_text(value, "ok");
    return KV_OK;
}

const struct kv_function kv_ask_functions[] = {
    {"gen_server", "call", NULL, 2, &gen_call, "asks a process of this node, by pid or name"},
    {"gen_server", "call", NULL, 3, &gen_call_timed, "with a time-out"},
    {"gen_server", "cast", run_cast, 2, NULL, "`ok`"},
    {"Elixir.GenServer", "call", NULL, 2, &elixir_call, "as `gen_server:call/2`"},
    {"Elixir.GenServer", "call", NULL, 3, &elixir_call_timed, "as `gen_server:call/3`"},
    {"Elixir.GenServer", "cast", run_cast, 2, NULL, "`ok`"},
    {.module = NULL},
};
