/* The tab Applications: one process for each viewer, and the tree that it sends. */
#include "support/viewer.h"

#include "kv/kv.h"

#include <criterion/criterion.h>
#include <stdio.h>

static struct fixture *f;
static struct kv_pid bucket;
static struct kv_pid server; /* the process that serves the viewer */

static struct kv_pid start(const struct kv_pid *viewer)
{
    struct kv_pid pid;
    struct kv_bytes answer =
        viewer_call(f, "appmon_info", "start_link2",
                    term_list(term_pid(viewer), term_pid(viewer), term_list(NONE, NONE, NONE)));
    assert_shape(answer, "{ok,p}");
    struct kv_reader reader = kv_reader(answer);
    (void)kv_read_tuple_of(&reader, 2);
    (void)kv_read_any(&reader, NULL);
    cr_assert_eq(kv_read_pid(&reader, &pid), KV_OK);
    pid.node = kv_bytes_text(FIXTURE_NODE);
    return pid;
}

static void set_up(void)
{
    struct kv_pid viewer = pid_a(1);
    f = viewer_fixture(&bucket);
    server = start(&viewer);
}

static void tear_down(void)
{
    fixture_free(f);
}

TestSuite(tree, .init = set_up, .fini = tear_down, .timeout = 60);

static void ask(const char *kind, const char *about, bool on)
{
    struct kv_pid viewer = pid_a(1);
    struct kv_buffer *request = term_buffer();
    kv_write_tuple(request, 5);
    kv_write_pid(request, &viewer);
    kv_write_atom_text(request, kind);
    kv_write_atom_text(request, about);
    kv_write_bool(request, on);
    kv_write_nil(request);
    forget(f);
    cast(f, &server, kv_buffer_bytes(request));
    run_turns(f);
}

/* The data of {delivery, Pid, Kind, About, Data}. */
static struct kv_bytes delivered(size_t n)
{
    struct kv_bytes data = NONE;
    struct kv_reader reader = kv_reader(payload_of(sent_of(f, KV_SIGNAL_MESSAGE, n)));
    cr_assert_eq(kv_read_tuple_of(&reader, 5), KV_OK);
    cr_assert_eq(kv_read_this_atom(&reader, "delivery"), KV_OK);
    for (int i = 0; i < 3; i++) {
        (void)kv_read_any(&reader, NULL);
    }
    cr_assert_eq(kv_read_any(&reader, &data), KV_OK);
    return data;
}

/* ---- the process ----------------------------------------------------------------------------- */

Test(tree, a_viewer_has_one_process_however_often_it_asks_and_another_viewer_another)
{
    struct kv_pid viewer = pid_a(1);
    struct kv_pid other = pid_b(1);
    struct kv_pid again = start(&viewer);
    cr_assert(kv_pid_equal(&again, &server));
    again = start(&other);
    cr_assert_not(kv_pid_equal(&again, &server));
}

Test(tree, the_process_is_linked_to_its_viewer)
{
    struct kv_pid other = pid_b(1);
    struct kv_pid of_other = start(&other);
    const struct sent *link = sent_of(f, KV_SIGNAL_LINK, 0);
    cr_assert_not_null(link);
    cr_assert(kv_pid_equal(&link->signal.to, &other));
    cr_assert(kv_pid_equal(&link->signal.from, &of_other));
}

Test(tree, the_process_ends_when_its_viewer_breaks_the_link_or_says_so_or_is_lost)
{
    struct kv_pid viewer = pid_a(1);
    feed_exit(f, f->a, KV_SIGNAL_EXIT_LINK, &viewer, &server, term_atom("shutdown"));
    cr_assert_not(kv_is_alive(f->runtime, &server));
    server = start(&viewer);
    feed_exit(f, f->a, KV_SIGNAL_EXIT, &viewer, &server, term_atom("normal"));
    cr_assert_not(kv_is_alive(f->runtime, &server));
    server = start(&viewer);
    for (int i = 0; i < 1000; i++) {
        (void)viewer_bucket(f, term_list(NONE, NONE, NONE));
    }
    struct kv_buffer *request = term_buffer();
    kv_write_tuple(request, 5);
    kv_write_nil(request);
    kv_write_atom_text(request, "app");
    kv_write_atom_text(request, "kv");
    kv_write_bool(request, true);
    kv_write_nil(request);
    cast(f, &server, kv_buffer_bytes(request)); /* the tree is being drawn now */
    kv_runtime_peer_down(f->runtime, f->a);
    cr_assert_not(kv_is_alive(f->runtime, &server));
    run_turns(f);
    f->a = NULL;
}

Test(tree, the_list_of_applications_is_delivered_when_it_is_switched_on)
{
    ask("app_ctrl", FIXTURE_NODE, true);
    assert_shape(delivered(0), "[{p,kv,{kv,s,s}}+]");
    ask("app_ctrl", FIXTURE_NODE, false);
    cr_assert_eq(f->sent_count, 0);
}

Test(tree, an_application_that_is_not_here_has_an_empty_tree)
{
    ask("app", "stdlib", true);
    assert_shape(delivered(0), "{[],[],[],[]}");
    ask("app", "stdlib", false);
    cr_assert_eq(f->sent_count, 0);
}

Test(tree, a_tree_is_sent_when_asked_for_and_then_when_it_has_changed)
{
    ask("app", "kv", true);
    cr_assert_eq(count_of(f, KV_SIGNAL_MESSAGE), 1);
    f->clock += 2000;
    run_turns(f);
    cr_assert_eq(count_of(f, KV_SIGNAL_MESSAGE), 1);
    (void)viewer_bucket(f, term_list(NONE, NONE, NONE));
    f->clock += 2000;
    run_turns(f);
    cr_assert_eq(count_of(f, KV_SIGNAL_MESSAGE), 1); /* since viewer_bucket() */
    ask("app", "kv", true);
    cr_assert_eq(count_of(f, KV_SIGNAL_MESSAGE), 1);
    ask("app", "kv", false);
    (void)viewer_bucket(f, term_list(NONE, NONE, NONE));
    f->clock += 2000;
    run_turns(f);
    cr_assert_eq(count_of(f, KV_SIGNAL_MESSAGE), 0);
}

Test(tree, a_message_that_is_none_of_these_is_ignored)
{
    cast(f, &server, term_atom("hello"));
    cast(f, &server, term_tuple(term_atom("a"), term_atom("b"), NONE, NONE));
    ask("nothing", "kv", true);
    cr_assert(kv_is_alive(f->runtime, &server));
    cr_assert_eq(f->sent_count, 0);
}

/* ---- reading a tree -------------------------------------------------------------------------- */

enum { BOXES_MAX = 2100, NAME_MAX_LENGTH = 3000 };

struct drawn {
    uint32_t boxes;
    uint32_t lines;
    struct kv_bytes names[BOXES_MAX]; /* as strings, in external form */
    struct kv_bytes from[BOXES_MAX];
    struct kv_bytes to[BOXES_MAX];
};

static struct drawn drawn;

static bool is_name(struct kv_bytes name)
{
    for (uint32_t i = 0; i < drawn.boxes; i++) {
        if (kv_bytes_equal(drawn.names[i], name)) {
            return true;
        }
    }
    return false;
}

/* How often a name is below another: once, but for the root. */
static uint32_t times_below(struct kv_bytes name)
{
    uint32_t times = 0;
    for (uint32_t i = 0; i < drawn.lines; i++) {
        times += kv_bytes_equal(drawn.to[i], name);
    }
    return times;
}

/* {Root, [{Pid, Name}], [{From, To}], []}, as observer_app_wx.erl, build_tree/2, needs it: unique
 * names that are not empty, a box for every name in a line, and no loop. */
static void draw(struct kv_bytes tree)
{
    struct kv_bytes root = NONE;
    assert_shape(tree, "{s,[{p,s}+],[{s,s}],[]}");
    struct kv_reader reader = kv_reader(tree);
    (void)kv_read_tuple_of(&reader, 4);
    (void)kv_read_any(&reader, &root);
    (void)kv_read_list(&reader, &drawn.boxes);
    cr_assert_leq(drawn.boxes, BOXES_MAX);
    for (uint32_t i = 0; i < drawn.boxes; i++) {
        (void)kv_read_tuple_of(&reader, 2);
        (void)kv_read_any(&reader, NULL);
        (void)kv_read_any(&reader, &drawn.names[i]);
        cr_assert_gt(drawn.names[i].length, 1);
        for (uint32_t j = 0; j < i; j++) {
            cr_assert_not(kv_bytes_equal(drawn.names[i], drawn.names[j]), "a name twice");
        }
    }
    (void)kv_read_nil(&reader);
    (void)kv_read_list(&reader, &drawn.lines);
    cr_assert_eq(drawn.lines, drawn.boxes - 1);
    for (uint32_t i = 0; i < drawn.lines; i++) {
        (void)kv_read_tuple_of(&reader, 2);
        (void)kv_read_any(&reader, &drawn.from[i]);
        (void)kv_read_any(&reader, &drawn.to[i]);
        cr_assert(is_name(drawn.from[i]) && is_name(drawn.to[i]));
        /* no loop: a box is named later than the box above it */
        cr_assert(kv_bytes_equal(drawn.from[i], root) || times_below(drawn.from[i]) == 1);
        cr_assert_eq(times_below(drawn.to[i]), 1);
    }
    cr_assert(is_name(root));
    cr_assert_eq(times_below(root), 0);
}

static void draw_now(void)
{
    ask("app", "kv", true);
    draw(delivered(0));
}

static struct kv_bytes string(const char *text)
{
    struct kv_buffer *term = term_buffer();
    kv_write_list(term, (uint32_t)strlen(text));
    for (const char *c = text; *c != 0; c++) {
        kv_write_u64(term, (uint8_t)*c);
    }
    kv_write_nil(term);
    return kv_buffer_bytes(term);
}

static bool is_below(const char *below, const char *above)
{
    for (uint32_t i = 0; i < drawn.lines; i++) {
        if (kv_bytes_equal(drawn.to[i], string(below)) &&
            kv_bytes_equal(drawn.from[i], string(above))) {
            return true;
        }
    }
    return false;
}

static struct kv_bytes option(const char *key, struct kv_bytes value)
{
    return term_tuple(term_atom(key), value, NONE, NONE);
}

static const char *name_of(const char *label, const struct kv_pid *pid)
{
    static char names[8][128];
    static size_t next;
    char *name = names[next++ % 8];
    (void)snprintf(name, sizeof names[0], "\"%s\" (%u.%u)", label, pid->id, pid->serial);
    return name;
}

/* ---- what the tree looks like ---------------------------------------------------------------- */

Test(tree, services_and_buckets_without_an_owner_are_below_the_root)
{
    draw_now();
    cr_assert(is_below("rex", "kv"));
    cr_assert(is_below("net_kernel", "kv"));
    cr_assert(is_below(name_of("shop", &bucket), "kv"));
    cr_assert_eq(drawn.boxes, 4); /* none for the processes that serve viewers */
}

static struct kv_pid owned_bucket(const char *label, struct kv_bytes ancestors)
{
    struct kv_pid owner = pid_a(10);
    return viewer_bucket(f, term_list(option("owner", term_pid(&owner)),
                                      option("label", term_binary(label)),
                                      option("ancestors", ancestors)));
}

static struct kv_bytes named(const char *name, const struct kv_pid *pid)
{
    return term_tuple(term_atom(name), term_pid(pid), NONE, NONE);
}

Test(tree, a_bucket_is_below_its_owner_and_that_below_its_nearest_supervisor)
{
    struct kv_pid near = pid_a(20);
    struct kv_pid far = pid_a(30);
    struct kv_pid one =
        owned_bucket("one", term_list(named("near_sup", &near), term_pid(&far), NONE));
    draw_now();
    cr_assert(is_below(name_of("one", &one), "<10.0> a@host"));
    cr_assert(is_below("<10.0> a@host", "near_sup"));
    cr_assert(is_below("near_sup", "kv"));
    cr_assert_eq(drawn.boxes, 7); /* root, services, shop; supervisor, owner and one */
}

Test(tree, buckets_of_one_supervisor_share_its_box)
{
    struct kv_pid near = pid_a(20);
    (void)owned_bucket("one", term_list(named("near_sup", &near), NONE, NONE));
    (void)owned_bucket("two", term_list(named("near_sup", &near), NONE, NONE));
    draw_now();
    cr_assert_eq(drawn.boxes, 8); /* root, services, shop; supervisor, owner, one and two */
}

Test(tree, buckets_that_a_registry_made_are_below_it)
{
    struct kv_pid made;
    struct kv_pid owner = pid_a(10);
    struct kv_pid registry = feed_spawn(
        f, f->a, "kv_registry", term_list(NONE, NONE, NONE),
        term_list(option("owner", term_pid(&owner)), option("name", term_atom("reg")), NONE));
    registry.node = kv_bytes_text(FIXTURE_NODE);
    struct kv_reader reader = kv_reader(
        call(f, &registry, term_tuple(term_atom("create"), term_binary("b"), NONE, NONE)));
    cr_assert_eq(kv_read_pid(&reader, &made), KV_OK);
    draw_now();
    cr_assert(is_below("reg", "<10.0> a@host"));
    cr_assert(is_below(name_of("b", &made), "reg"));
}

Test(tree, a_bucket_spawned_with_a_link_is_below_its_spawner)
{
    struct kv_pid linked =
        feed_spawn(f, f->b, "kv_bucket", term_list(term_atom("link"), NONE, NONE),
                   term_list(option("label", term_binary("linked")), NONE, NONE));
    draw_now();
    cr_assert(is_below(name_of("linked", &linked), "<1.0> b@host"));
}

Test(tree, names_that_clash_are_told_apart)
{
    struct kv_pid sup_a = pid_a(20);
    struct kv_pid sup_b = pid_b(20);
    struct kv_pid root_like = pid_a(21);
    (void)owned_bucket("one", term_list(named("sup", &sup_a), NONE, NONE));
    (void)owned_bucket("two", term_list(named("kv", &root_like), NONE, NONE));
    struct kv_pid owner = pid_b(10);
    (void)viewer_bucket(
        f, term_list(option("owner", term_pid(&owner)),
                     option("ancestors", term_list(named("sup", &sup_b), NONE, NONE)), NONE));
    (void)viewer_bucket(f, term_list(option("name", term_atom("kv")), NONE, NONE));
    draw_now();
    cr_assert(is_below("kv <21.0.7> a@host", "kv"));
    cr_assert(is_below("sup <20.0.8> b@host", "kv"));
}

Test(tree, ancestors_that_lead_round_are_no_harm)
{
    struct kv_pid x = pid_a(20);
    struct kv_pid y = pid_a(21);
    struct kv_pid owner = pid_a(10);
    (void)owned_bucket("one", term_list(term_pid(&x), term_pid(&y), NONE));
    (void)owned_bucket("two", term_list(term_pid(&y), term_pid(&x), NONE));
    (void)owned_bucket("three", term_list(term_pid(&owner), term_pid(&bucket), term_pid(&owner)));
    draw_now();
}

/* A pid of this node that is not there yet, or is the very process. */
Test(tree, a_bucket_that_owns_itself_is_below_the_root)
{
    struct kv_pid next = bucket;
    const struct kv_process *process = kv_process_at(f->runtime, &bucket);
    cr_assert_not_null(process);
    struct kv_pid probe = viewer_bucket(f, term_list(NONE, NONE, NONE));
    next.id = probe.id + 1;
    (void)viewer_bucket(f, term_list(option("owner", term_pid(&next)), NONE, NONE));
    draw_now();
}

Test(tree, a_label_that_is_no_text_is_drawn_all_the_same)
{
    static const uint8_t label[] = {0xed, 0xa0, 0x80, 0xff, 0xc3, 'x',
                                    0xf4, 0x90, 0x80, 0x80, 0xe2};
    struct kv_buffer *options = term_buffer();
    kv_write_list(options, 1);
    kv_write_tuple(options, 2);
    kv_write_atom_text(options, "label");
    kv_write_binary(options, kv_bytes(label, sizeof label));
    kv_write_nil(options);
    (void)viewer_bucket(f, kv_buffer_bytes(options));
    draw_now(); /* the shape of a string has no surrogates */
}

Test(tree, of_many_processes_some_are_drawn_and_the_number_of_the_others)
{
    for (int i = 0; i < 3000; i++) {
        (void)viewer_bucket(f, term_list(NONE, NONE, NONE));
    }
    draw_now();
    cr_assert_eq(drawn.boxes, 2000);
    cr_assert(is_below("(and 1005 more)", "kv"));
}

/* ---- the option ------------------------------------------------------------------------------ */

Test(tree, ancestors_are_shown_in_the_dictionary_as_they_were_told)
{
    struct kv_pid near = pid_a(20);
    struct kv_pid far = pid_a(30);
    struct kv_bytes told = term_list(named("near_sup", &near), term_pid(&far), NONE);
    struct kv_pid one = owned_bucket("one", told);
    struct kv_bytes dictionary = NONE;
    struct kv_reader reader = kv_reader(viewer_call(
        f, "erlang", "process_info", term_list(term_pid(&one), term_atom("dictionary"), NONE)));
    (void)kv_read_tuple_of(&reader, 2);
    (void)kv_read_any(&reader, NULL);
    (void)kv_read_any(&reader, &dictionary);
    assert_term(value_at(dictionary, "$ancestors"), told);
}

static bool is_refused(struct kv_bytes ancestors)
{
    size_t before = kv_runtime_process_count(f->runtime);
    (void)feed_spawn(f, f->a, "kv_bucket", term_list(NONE, NONE, NONE),
                     term_list(option("ancestors", ancestors), NONE, NONE));
    return kv_runtime_process_count(f->runtime) == before;
}

Test(tree, ancestors_of_the_wrong_kind_or_more_than_16_are_a_bad_option)
{
    struct kv_pid pid = pid_a(20);
    struct kv_buffer *many = term_buffer();
    struct kv_buffer *improper = term_buffer();
    kv_write_list(many, 17);
    for (int i = 0; i < 17; i++) {
        kv_write_pid(many, &pid);
    }
    kv_write_nil(many);
    kv_write_list(improper, 1);
    kv_write_pid(improper, &pid);
    kv_write_pid(improper, &pid);
    cr_assert(is_refused(kv_buffer_bytes(many)));
    cr_assert(is_refused(kv_buffer_bytes(improper)));
    cr_assert(is_refused(term_pid(&pid)));
    cr_assert(is_refused(term_list(term_atom("sup"), NONE, NONE)));
    cr_assert(is_refused(term_list(named("", &pid), NONE, NONE)));
    cr_assert(is_refused(
        term_list(term_tuple(term_atom("sup"), term_atom("node"), NONE, NONE), NONE, NONE)));
    cr_assert_not(is_refused(term_list(NONE, NONE, NONE)));
    cr_assert_not(is_refused(term_list(term_pid(&pid), named("sup", &pid), NONE)));
}

Test(tree, a_thousand_processes_of_the_same_ancestors_keep_them_once)
{
    struct kv_pid near = pid_a(20);
    struct kv_process_info first;
    struct kv_pid one = owned_bucket("one", term_list(named("near_sup", &near), NONE, NONE));
    kv_process_inspect(kv_process_at(f->runtime, &one), &first);
    for (int i = 0; i < 1000; i++) {
        struct kv_process_info other;
        struct kv_pid pid = owned_bucket("more", term_list(named("near_sup", &near), NONE, NONE));
        kv_process_inspect(kv_process_at(f->runtime, &pid), &other);
        cr_assert_eq(other.ancestors.data, first.ancestors.data);
    }
}
