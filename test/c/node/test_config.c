/* The files of options and of the cookie. */
#include "node/config.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static struct kv_options options;
static struct kv_option_error error;
static char wrongs[4][KV_CONFIG_TEXT];
static unsigned wrong_count;
static char folder[] = "/tmp/kv_config_XXXXXX";
static char path[64];

static void set_up(void)
{
    (void)unsetenv("ERL_EPMD_PORT");
    cr_assert(kv_options_init(&options, &error));
    wrong_count = 0;
}

static void set_up_files(void)
{
    set_up();
    cr_assert_not_null(mkdtemp(folder));
    (void)snprintf(path, sizeof path, "%s/file", folder);
}

static void tear_down_files(void)
{
    (void)unlink(path);
    (void)rmdir(folder);
}

TestSuite(config, .init = set_up, .timeout = 20);
TestSuite(config_files, .init = set_up_files, .fini = tear_down_files, .timeout = 20);

static void keep(void *context, const char *text)
{
    (void)context;
    cr_assert_lt(wrong_count, 4);
    (void)snprintf(wrongs[wrong_count++], KV_CONFIG_TEXT, "%s", text);
}

static const struct kv_config_reader READER = {.wrong = keep};

static bool take(const char *text)
{
    return kv_config_take(&options, "kv.conf", kv_bytes_text(text), true, &READER);
}

static void write_file(const char *content, size_t length, mode_t mode)
{
    FILE *file = fopen(path, "we");
    cr_assert_not_null(file);
    cr_assert_eq(fwrite(content, 1, length, file), length);
    (void)fclose(file);
    cr_assert_eq(chmod(path, mode), 0);
}

/* ---- lines ---- */

Test(config, an_option_has_a_line_with_its_name_and_its_value)
{
    cr_assert(
        take("name kv@127.0.0.1\nport\t 9100\n  data-dir /a folder/with # signs \r\nno-epmd"));
    cr_assert_str_eq(options.name, "kv@127.0.0.1");
    cr_assert_eq(options.port, 9100);
    cr_assert_str_eq(options.data_dir, "/a folder/with # signs");
    cr_assert(options.no_epmd);
}

Test(config, comments_and_empty_lines_are_skipped)
{
    cr_assert(take("# port 1\n\n   \n\t# port 2\nport 3\n#"));
    cr_assert_eq(options.port, 3);
    cr_assert(take(""));
}

Test(config, each_wrong_line_is_told_with_its_file_and_number)
{
    cr_assert_not(take("port 1\nticktime 0\n\ncolour red\nspin 7\n--port 2\n"));
    cr_assert_eq(wrong_count, 3);
    cr_assert_str_eq(wrongs[0], "kv.conf:2: --ticktime: a number from 1 to 86400 is wanted");
    cr_assert_str_eq(wrongs[1], "kv.conf:4: colour is no option; kv_node --help lists them");
    cr_assert_str_eq(wrongs[2],
                     "kv.conf:6: NAME VALUE is wanted, without the -- of the command line");
    cr_assert_eq(options.spin, 7, "the lines after a wrong one count");
}

Test(config, an_option_without_its_value_and_a_flag_with_one_are_wrong)
{
    cr_assert_not(take("port\nno-leash yes\n"));
    cr_assert_str_eq(wrongs[0], "kv.conf:1: --port needs a value");
    cr_assert_str_eq(wrongs[1], "kv.conf:2: --no-leash takes no value");
}

Test(config, a_line_with_a_zero_byte_or_too_many_bytes_is_wrong)
{
    static char text[KV_CONFIG_LINE + 64];
    memset(text, 'x', sizeof text);
    memcpy(text, "port 1\0\nbind ", 13);
    text[sizeof text - 8] = '\n';
    memcpy(text + sizeof text - 7, "spin 9\n", 7);
    cr_assert_not(kv_config_take(&options, "f", kv_bytes(text, sizeof text), true, &READER));
    cr_assert_eq(wrong_count, 2);
    cr_assert_str_eq(wrongs[1], "f:2: a line has no zero byte, and at most 4200 bytes");
    cr_assert_eq(options.spin, 9);
}

Test(config, the_command_line_counts_before_the_file_and_the_first_line_before_the_second)
{
    char port[] = "--port=1";
    char *argv[] = {"kv_node", port};
    enum kv_command command;
    cr_assert(kv_options_arguments(&options, 2, argv, &command, &error));
    cr_assert(take("port 2\nspin 3\nspin 4\n"));
    cr_assert_eq(options.port, 1);
    cr_assert_eq(options.spin, 3);
    cr_assert_not(take("port x\n"), "a value that does not count is checked all the same");
}

Test(config, commands_and_other_files_are_for_the_command_line)
{
    cr_assert_not(take("config other\ncheck /data\nhelp\n"));
    cr_assert_str_eq(wrongs[0], "kv.conf:1: --config is for the command line only");
    cr_assert_str_eq(wrongs[1], "kv.conf:2: --check is for the command line only");
}

Test(config, the_cookie_is_not_an_option)
{
    cr_assert_not(take("cookie hush\n"));
    cr_assert_str_eq(wrongs[0], "kv.conf:1: the cookie has a file of its own: cookie-file FILE");
}

Test(config, a_password_stands_only_in_a_file_that_nobody_else_may_read)
{
    static const char TEXT[] = "tls-password hush\n";
    cr_assert_not(kv_config_take(&options, "f", kv_bytes_text(TEXT), false, &READER));
    cr_assert_str_eq(wrongs[0],
                     "f:1: --tls-password: others than the owner may read this file: chmod 600");
    cr_assert_str_eq(options.tls.password, "");
    cr_assert(take(TEXT));
    cr_assert_str_eq(options.tls.password, "hush");
}

/* ---- files ---- */

Test(config_files, a_file_of_options_is_read)
{
    write_file("port 7\n", 7, 0644);
    cr_assert(kv_config_read(&options, path, &READER));
    cr_assert_eq(options.port, 7);
}

Test(config_files, a_file_that_is_missing_or_too_large_is_told)
{
    cr_assert_not(kv_config_read(&options, "/nowhere/kv.conf", &READER));
    cr_assert_str_eq(wrongs[0], "cannot read /nowhere/kv.conf: No such file or directory");
    char *much = calloc(1, KV_CONFIG_MAX + 1);
    memset(much, '\n', KV_CONFIG_MAX + 1);
    write_file(much, KV_CONFIG_MAX, 0644);
    cr_assert(kv_config_read(&options, path, &READER));
    write_file(much, KV_CONFIG_MAX + 1, 0644);
    cr_assert_not(kv_config_read(&options, path, &READER));
    cr_assert_not_null(strstr(wrongs[1], "a file of options has at most 65536 bytes"));
    free(much);
}

/* Returns what is said against a cookie file with this content; "" if it is taken. */
static const char *cookie(const char *content, size_t length, mode_t mode)
{
    write_file(content, length, mode);
    (void)snprintf(options.cookie_file, sizeof options.cookie_file, "%s", path);
    error.text[0] = '\0';
    const bool taken = kv_config_cookie(&options, &error);
    cr_assert_eq(taken, error.text[0] == '\0', "%s", error.text);
    return error.text;
}

Test(config_files, the_cookie_is_what_erl_reads)
{
    static const char *const GOOD[][2] = {{"secret", "secret"},
                                          {"secret\n", "secret"},
                                          {"secret\r\n\n", "secret"},
                                          {"a b~\n \n", "a b~"}};
    for (size_t i = 0; i < 4; i++) {
        cr_assert_str_eq(cookie(GOOD[i][0], strlen(GOOD[i][0]), 0400), "");
        cr_assert_str_eq(options.cookie, GOOD[i][1]);
        cr_assert(options.has_cookie);
        cr_assert_eq(unlink(path), 0);
    }
}

Test(config_files, a_cookie_of_other_characters_or_of_too_many_is_refused)
{
    char long_one[KV_COOKIE_MAX + 1];
    memset(long_one, 'c', sizeof long_one);
    cr_assert_not_null(strstr(cookie("", 0, 0600), "has no cookie in its first line"));
    cr_assert_not_null(strstr(cookie("\nsecret", 7, 0600), "has a character that no cookie has"));
    cr_assert_not_null(strstr(cookie("a\nb", 3, 0600), "has a character that no cookie has"));
    cr_assert_not_null(strstr(cookie("a\0b", 3, 0600), "has a character that no cookie has"));
    cr_assert_not_null(strstr(cookie("k\xC3\xA4", 3, 0600), "has a character that no cookie has"));
    cr_assert_not_null(
        strstr(cookie(long_one, sizeof long_one, 0600), "has a cookie of more than 255 bytes"));
    cr_assert_null(strstr(error.text, "ccc"), "the cookie is not repeated");
    cr_assert_not(options.has_cookie);
    cr_assert_str_eq(cookie(long_one, KV_COOKIE_MAX, 0600), "");
}

Test(config_files, a_cookie_that_others_may_read_or_write_is_refused)
{
    static const mode_t OPEN[] = {0644, 0440, 0604, 0620, 0602, 0410};
    for (size_t i = 0; i < 6; i++) {
        cr_assert_not_null(strstr(cookie("secret", 6, OPEN[i]), "only its owner may read"));
        cr_assert_eq(unlink(path), 0);
    }
    cr_assert_str_eq(cookie("secret", 6, 0700), "");
}

Test(config_files, a_cookie_file_of_another_user_is_refused)
{
    if (geteuid() != 0) {
        cr_skip_test("only root can give a file away");
    }
    write_file("secret", 6, 0400);
    cr_assert_eq(chown(path, 4711, 4711), 0);
    (void)snprintf(options.cookie_file, sizeof options.cookie_file, "%s", path);
    cr_assert_not(kv_config_cookie(&options, &error));
    cr_assert_not_null(strstr(error.text, "belongs to user 4711, and this program runs as user 0"));
}

Test(config_files, a_cookie_file_is_a_regular_file)
{
    cr_assert_eq(mkfifo(path, 0600), 0);
    (void)snprintf(options.cookie_file, sizeof options.cookie_file, "%s", path);
    cr_assert_not(kv_config_cookie(&options, &error));
    cr_assert_not_null(strstr(error.text, "is no regular file"));
    (void)snprintf(options.cookie_file, sizeof options.cookie_file, "%s", folder);
    cr_assert_not(kv_config_cookie(&options, &error));
}
