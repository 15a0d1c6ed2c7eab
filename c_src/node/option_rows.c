#include "node/option_rows.h"

#include "host/pace.h"
#include "tls/context.h"
#include "wire/epmd.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static const char *const LEVELS[] = {"debug", "info", "notice", "warning", "error", NULL};
static const char *const BOOLEANS[] = {"true", "false", NULL};
static const char *const ZEROS[] = {"differ", "same", NULL};
static const char *const GET_STATES[] = {"bare", "tagged", NULL};

static const char *const VERIFY[] = {"verify_none", "verify_peer", NULL};
static const char *const VERSIONS[] = {"tlsv1.2,tlsv1.3", "tlsv1.3,tlsv1.2", "tlsv1.2", "tlsv1.3",
                                       NULL};

static void choose_verify(struct kv_options *options, size_t word)
{
    options->tls.verify = word == 1;
}

static void choose_must_have(struct kv_options *options, size_t word)
{
    options->tls.fail_if_no_peer_cert = word == 0;
}

static void choose_versions(struct kv_options *options, size_t word)
{
    static const unsigned versions[] = {KV_TLS_1_2 | KV_TLS_1_3, KV_TLS_1_2 | KV_TLS_1_3,
                                        KV_TLS_1_2, KV_TLS_1_3};
    options->tls.versions = versions[word];
}

static void choose_level(struct kv_options *options, size_t word)
{
    options->log_level = (enum kv_log_level)word;
}

static void choose_follow(struct kv_options *options, size_t word)
{
    options->follow = word == 0;
}

static void choose_no_leash(struct kv_options *options, size_t word)
{
    (void)word;
    options->leash = false;
}

static void choose_no_epmd(struct kv_options *options, size_t word)
{
    (void)word;
    options->no_epmd = true;
}

static void choose_check_config(struct kv_options *options, size_t word)
{
    (void)word;
    options->check_config = true;
}

static void choose_cores(struct kv_options *options, size_t word)
{
    options->cores = word == 0;
}

static void choose_seccomp(struct kv_options *options, size_t word)
{
    options->seccomp = word == 0;
}

static void choose_zeros(struct kv_options *options, size_t word)
{
    options->zeros = word == 0 ? KV_ZEROS_DIFFER : KV_ZEROS_SAME;
}

static void choose_get_state(struct kv_options *options, size_t word)
{
    options->get_state = word == 0 ? KV_GET_STATE_BARE : KV_GET_STATE_TAGGED;
}

#define FIELD(member) .field = offsetof(struct kv_options, member)
#define RANGE(low, high, value)                                                                    \
    .kind = KV_OPTION_NUMBER, .least = (low), .most = (high), .preset = (value)
#define WORDS(list, function, value)                                                               \
    .kind = KV_OPTION_WORD, .words = (list), .choose = (function), .preset = (value)

#define ONLY(places)   .sources = (places)
#define FLAG(function) .kind = KV_OPTION_FLAG, .choose = (function)

#define MIB(n) ((uint64_t)(n) << 20)

/* To add an option, add a row here and a field to struct kv_options. Parsing, defaults and --help
 * follow from the row. An option that users of the OTP side set also needs a row in
 * src/kv_node_options.erl. test/kv/options_test.exs compares the two. */
static const struct kv_option ROWS[] = {
    {.name = "name",
     .value = "ALIVE@HOST",
     .text = "the name of this node",
     .preset_text = "required",
     .kind = KV_OPTION_NODE_NAME,
     FIELD(name)},
    {.name = "bind",
     .value = "ADDRESS",
     .text = "the address to listen on",
     .preset_text = "what HOST resolves to",
     .kind = KV_OPTION_HOST,
     FIELD(bind)},
    {.name = "port",
     .value = "PORT",
     .text = "the TCP port to listen on; 0 is any free one",
     FIELD(port),
     RANGE(0, UINT16_MAX, 0)},
    {.name = "epmd-port",
     .value = "PORT",
     .text = "the port of EPMD",
     .preset_text = "ERL_EPMD_PORT, else 4369",
     FIELD(epmd_port),
     RANGE(1, UINT16_MAX, KV_EPMD_PORT)},
    {.name = "no-epmd",
     .text = "do not register with EPMD: all nodes have -erl_epmd_port PORT",
     FLAG(choose_no_epmd)},
    {.name = "vm",
     .value = "ALIVE@HOST",
     .text = "the node that holds standard input and owns processes here",
     .preset_text = "none",
     .kind = KV_OPTION_NODE_NAME,
     FIELD(vm)},
    {.name = "reconnect-timeout",
     .value = "MS",
     .text = "how long its processes are kept when the connection to --vm is lost",
     FIELD(reconnect_timeout),
     RANGE(0, (uint64_t)1 << 31, 60000)},
    {.name = "ticktime",
     .value = "SECONDS",
     .text = "a peer that is silent for so long is given up",
     FIELD(ticktime),
     RANGE(1, 86400, 60)},
    {.name = "handshake-timeout",
     .value = "MS",
     .text = "the time for a whole handshake",
     FIELD(handshake_timeout),
     RANGE(10, 600000, 7000)},
    {.name = "max-frame",
     .value = "BYTES",
     .text = "the largest message",
     FIELD(max_frame),
     RANGE(4096, INT32_MAX, MIB(128))},
    {.name = "max-depth",
     .value = "LEVELS",
     .text = "how deep one term may be nested",
     FIELD(max_depth),
     RANGE(16, 1 << 24, 1 << 20)},
    {.name = "max-peers",
     .value = "N",
     .text = "connections at once",
     FIELD(max_peers),
     RANGE(1, 65536, 1024)},
    {.name = "max-pending",
     .value = "BYTES",
     .text = "all messages that one peer has sent in part",
     FIELD(max_pending),
     RANGE(MIB(1), (uint64_t)1 << 40, (uint64_t)1 << 30)},
    {.name = "max-queue",
     .value = "BYTES",
     .text = "what may wait for a peer that does not read",
     FIELD(max_queue),
     RANGE(MIB(1), (uint64_t)1 << 40, MIB(512))},
    {.name = "max-memory",
     .value = "BYTES",
     .text = "all buckets; 0 is 3/4 of the machine's or the container's memory",
     FIELD(max_memory),
     RANGE(0, (uint64_t)1 << 43, 0)},
    {.name = "data-dir",
     .value = "FOLDER",
     .text = "where durable buckets are kept, made if it is missing",
     .preset_text = "none, and no bucket is durable",
     .kind = KV_OPTION_FOLDER,
     FIELD(data_dir)},
    {.name = "checkpoint-log",
     .value = "BYTES",
     .text = "the log of durable buckets since the last checkpoint, before the next one",
     FIELD(checkpoint_log),
     RANGE(MIB(1), (uint64_t)1 << 40, MIB(64))},
    {.name = "backup-dir",
     .value = "FOLDER",
     .text = "where messages of other nodes may make backups of --data-dir",
     .preset_text = "none, and no message may",
     .kind = KV_OPTION_FOLDER,
     FIELD(backup_dir)},
    {.name = "follow",
     .value = "true|false",
     .text = "with two processors, run on the one that callers send from\nwhile many are at work",
     WORDS(BOOLEANS, choose_follow, 0)},
    {.name = "gather",
     .value = "US",
     .text = "else wait before the next read while many are at work; 0 is off",
     FIELD(gather),
     RANGE(0, KV_GATHER_MOST_US, KV_GATHER_PRESET_US)},
    {.name = "spin",
     .value = "US",
     .text =
         "look for more at most so long before sleeping, while a few\ncallers are at work; 0 is "
         "off",
     FIELD(spin),
     RANGE(0, KV_SPIN_MOST_US, KV_SPIN_PRESET_US)},
    {.name = "tls-certfile",
     .value = "FILE",
     .text = "connections come over TLS, with this certificate (PEM)",
     .preset_text = "none, and no TLS",
     .kind = KV_OPTION_FILE,
     FIELD(tls.certfile)},
    {.name = "tls-keyfile",
     .value = "FILE",
     .text = "its key (PEM)",
     .preset_text = "in the file of the certificate",
     .kind = KV_OPTION_FILE,
     FIELD(tls.keyfile)},
    {.name = "tls-password",
     .value = "TEXT",
     .text = "the password of the key; from standard input, or from a --config\nthat only its "
             "owner may read",
     .preset_text = "none",
     .kind = KV_OPTION_TEXT,
     ONLY(KV_FROM_FILE | KV_FROM_LINE),
     FIELD(tls.password)},
    {.name = "tls-cacertfile",
     .value = "FILE",
     .text = "certificates of the authorities that are trusted (PEM)",
     .preset_text = "none",
     .kind = KV_OPTION_FILE,
     FIELD(tls.cacertfile)},
    {.name = "tls-verify",
     .value = "verify_none|verify_peer",
     .text = "whether peers are asked for a certificate, which must be good",
     WORDS(VERIFY, choose_verify, 0)},
    {.name = "tls-fail-if-no-peer-cert",
     .value = "true|false",
     .text = "with verify_peer, refuse peers without a certificate",
     WORDS(BOOLEANS, choose_must_have, 1)},
    {.name = "tls-hosts",
     .value = "HOST,...",
     .text = "with verify_peer, refuse certificates that are neither for one of\nthese nor for the "
             "address of their peer",
     .preset_text = "none, and any certificate",
     .kind = KV_OPTION_TEXT,
     FIELD(tls.hosts)},
    {.name = "tls-depth",
     .value = "N",
     .text = "certificates between that of a peer and its authority",
     FIELD(tls.depth),
     RANGE(0, 255, 10)},
    {.name = "tls-versions",
     .value = "VERSION,...",
     .text = "tlsv1.2, tlsv1.3 or both",
     WORDS(VERSIONS, choose_versions, 0)},
    {.name = "tls-ciphers",
     .value = "NAME,...",
     .text = "OpenSSL's names of the ciphers that may be used, best first",
     .preset_text = "OpenSSL's choice",
     .kind = KV_OPTION_TEXT,
     FIELD(tls.ciphers)},
    {.name = "tls-dhfile",
     .value = "FILE",
     .text = "parameters of Diffie-Hellman (PEM)",
     .preset_text = "OpenSSL's choice",
     .kind = KV_OPTION_FILE,
     FIELD(tls.dhfile)},
    {.name = "zeros",
     .value = "differ|same",
     .text = "whether 0.0 and -0.0 are one key",
     WORDS(ZEROS, choose_zeros, 0)},
    {.name = "get-state",
     .value = "bare|tagged",
     .text = "sys:get_state of peers before OTP 28: State, or {ok, State}",
     WORDS(GET_STATES, choose_get_state, 0)},
    {.name = "log-level",
     .value = "LEVEL",
     .text = "debug, info, notice, warning or error",
     WORDS(LEVELS, choose_level, KV_LOG_NOTICE)},
    {.name = "metrics",
     .value = "ADDRESS:PORT",
     .text = "serve figures for Prometheus there over HTTP, at /metrics, and\n/health",
     .preset_text = "none",
     .kind = KV_OPTION_ADDRESS,
     FIELD(metrics)},
    {.name = "cores",
     .value = "true|false",
     .text = "whether a crash may write a core, which holds all values",
     WORDS(BOOLEANS, choose_cores, 1)},
    {.name = "seccomp",
     .value = "true|false",
     .text = "make no system call that a node does not need: another one fails,\nand the log names "
             "it",
     WORDS(BOOLEANS, choose_seccomp, 1)},
    {.name = "no-leash", .text = "keep running when standard input ends", FLAG(choose_no_leash)},
    {.name = "config",
     .value = "FILE",
     .text = "a file with more options, NAME VALUE a line",
     .preset_text = "none",
     .kind = KV_OPTION_FILE,
     ONLY(KV_FROM_ARGUMENT),
     FIELD(config)},
    {.name = "cookie-file",
     .value = "FILE",
     .text = "a file with the cookie, which only its owner may read; standard\ninput then has no "
             "options and no cookie",
     .preset_text = "none",
     .kind = KV_OPTION_FILE,
     ONLY(KV_FROM_ARGUMENT | KV_FROM_FILE),
     FIELD(cookie_file)},
    {.name = "check-config",
     .text = "say everything that would keep this node from starting, and end;\nstatus 0: nothing "
             "would",
     FLAG(choose_check_config),
     ONLY(KV_FROM_ARGUMENT)},
    {.name = "check",
     .value = "FOLDER",
     .text = "say what is in a data folder that no node uses, and end;\nstatus 0: whole, 1: "
             "damaged, 66: not checked",
     .preset_text = "no",
     .kind = KV_OPTION_FOLDER,
     ONLY(KV_FROM_ARGUMENT),
     FIELD(check)},
    {.name = "salvage",
     .value = "FOLDER",
     .text = "make a new data folder of what can be read of a damaged one,\nand end; status 0: "
             "nothing is lost, 1: a part, 66: no folder",
     .preset_text = "no",
     .kind = KV_OPTION_FOLDER,
     ONLY(KV_FROM_ARGUMENT),
     FIELD(salvage)},
    {.name = "to",
     .value = "FOLDER",
     .text = "the new folder of --salvage, which must not be there yet",
     .preset_text = "none",
     .kind = KV_OPTION_FOLDER,
     ONLY(KV_FROM_ARGUMENT),
     FIELD(to)},
    {.name = "version", .text = "print the version and end", .kind = KV_OPTION_ENDS},
    {.name = "help", .text = "print this and end", .kind = KV_OPTION_ENDS},
};

_Static_assert(COUNT(ROWS) <= 64, "kv_options.given has a bit for each");

const struct kv_option *kv_option_rows(size_t *count)
{
    *count = COUNT(ROWS);
    return ROWS;
}
