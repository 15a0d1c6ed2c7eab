/* How buckets and registries start: reads the options, a list of {Key, Value}, and tells the owner.
 */
#ifndef KV_START_H
#define KV_START_H

#include <kv/journal.h>
#include <kv/process.h>
#include <kv/table.h>

/* All values borrow from the list. An option that is not given has length 0. */
struct kv_start_options {
    struct kv_bytes owner;          /* a pid, as a term */
    struct kv_bytes starter;        /* a pid, as a term, of a process that belongs to the node */
    struct kv_bytes name;           /* the text of an atom */
    struct kv_bytes label;          /* the bytes of a binary */
    struct kv_bytes ancestors;      /* a list of pids and {Name, Pid}, as a term */
    struct kv_bytes creator;        /* a pid, as a term */
    struct kv_bytes event_manager;  /* a pid or {Name, Node}, as a term */
    uint64_t generation;            /* by which callers tell one life of a name from the next */
    bool only;                      /* end the other processes of the same owner first */
    bool fill;                      /* the owner fills a bucket that has no entries from before */
    bool existing;                  /* takes what is durable of that identity as it is, or fails */
    uint64_t ttl;                   /* of entries that are put without one; 0: none */
    bool touch_on_read;             /* a read starts the ttl again */
    bool latest;                    /* the option `reads`: a read waits for no change */
    struct kv_table_options table;  /* max_memory, max_entries, evict */
    enum kv_policy policy;          /* the option `durable` */
    struct kv_bytes registry;       /* the option `store`, {Registry, Name}: the identity of a */
    struct kv_bytes identity;       /* durable bucket; Registry is empty for none */
    bool attached;                  /* set by `open`: the process has the contents of an identity */
    struct kv_adoptable *adoptable; /* set by kv_start(): for terminate; or NULL */
    uint32_t given;                 /* a bit of enum kv_given for each of these that is given */
};

enum kv_given {
    KV_GIVEN_MAX_MEMORY = 1,
    KV_GIVEN_MAX_ENTRIES = 2,
    KV_GIVEN_TTL = 4,
    KV_GIVEN_EVICT = 8,
    KV_GIVEN_TOUCH = 16,
    KV_GIVEN_READS = 32,
};

enum kv_option_set { KV_BUCKET_OPTIONS, KV_REGISTRY_OPTIONS };
struct kv_adoptable; /* adopt.h */

/* Checks the options that a request gives for a bucket: those of a bucket, without the ones of its
 * process (owner, starter, name, label, ancestors, generation, only, store). Returns KV_OK, or an
 * error with {bad_option, Option} appended. */
int kv_start_check(struct kv_bytes list, struct kv_buffer *reason);

/* Reads the value of the option `durable`. Returns false if it is none. */
bool kv_start_policy(struct kv_bytes value, enum kv_policy *policy);
/* Returns the atom that stands for a policy in that option. */
const char *kv_start_policy_word(enum kv_policy policy);

/* Each appends the reason of a start that is refused, and returns an error: {Kind, Text};
 * {already_started, Pid}; and the word of kv_start_no_room(): enomem, enospc or busy. */
int kv_start_refuse(struct kv_buffer *reason, int error, const char *kind, const char *text);
int kv_start_refuse_second(struct kv_buffer *reason, const struct kv_process *holder);
int kv_start_refuse_room(struct kv_buffer *reason, int error);
/* The option `existing`, and there is nothing. */
int kv_start_refuse_absent(struct kv_buffer *reason);
const char *kv_start_no_room(int error);

/* Makes whatever else a process needs before it serves. Returns KV_OK, or an error with the exit
 * reason appended. */
typedef int kv_start_open(struct kv_process *self, struct kv_start_options *options,
                          struct kv_buffer *reason);

/* Starts a process, in this order: reads the list; if `only` is set, ends the other processes of
 * the same behaviour and owner with reason `replaced`; registers the name; calls `open`; monitors
 * the owner; and sends the owner {ack, Self, {ok, Self}}, or {ack, Self, {ok, Self, Generation}} if
 * `open` has attached it, or {ack, Self, {error, Reason}}. *owner is
 * the number of the monitor, or 0 without an owner. Returns KV_OK, or an error with Reason
 * appended: {bad_option, Option}, {already_registered, Pid}, or the reason of `open`.
 *
 * A process with a starter, and without an owner, belongs to the node. The starter gets the
 * messages of an owner, and is not monitored. If there is such a process of that kind and name, the
 * error is {adopted, Pid, Generation}, with the pid and the generation of that one. */
int kv_start(struct kv_process *self, struct kv_bytes list, enum kv_option_set set,
             kv_start_open *open, struct kv_start_options *options, uint64_t *owner,
             struct kv_buffer *reason);

#endif
