/* Which certificates, keys and rules a node can use, and the reason that is given if it cannot. */
#include "support/authority.h"
#include "tls/context.h"

#include "base/alloc.h"

#include <criterion/criterion.h>
#include <string.h>

static struct authority *authority;
static struct credentials own;
static char why[KV_TLS_WHY_MAX];

static void set_up(void)
{
    authority = authority_new("an authority");
    own = authority_sign(authority, "DNS:host", VALID, NULL);
}

static void tear_down(void)
{
    credentials_free(&own);
    authority_free(authority);
    cr_assert_eq(kv_alloc_outstanding(), 0, "something is left in memory");
}

TestSuite(tls_context, .init = set_up, .fini = tear_down, .timeout = 20);

static struct kv_tls_settings good(void)
{
    return authority_rules(authority, &own);
}

static bool is_usable(const struct kv_tls_settings *settings)
{
    why[0] = '\0';
    struct kv_tls_context *context = kv_tls_context_new(settings, why);
    kv_tls_context_drop(context);
    return context != NULL;
}

static void refused(const struct kv_tls_settings *settings, const char *reason)
{
    cr_assert(!is_usable(settings), "%s was expected", reason);
    cr_assert(strstr(why, reason) != NULL, "\"%s\" was expected, and there was \"%s\"", reason,
              why);
}

Test(tls_context, a_certificate_with_its_key_is_usable)
{
    const struct kv_tls_settings settings = good();
    cr_assert(is_usable(&settings), "%s", why);
}

Test(tls_context, the_key_may_be_in_the_file_of_the_certificate)
{
    struct kv_tls_settings settings = good();
    struct kv_buffer both = KV_BUFFER_INIT;
    kv_buffer_append(&both, kv_buffer_bytes(&own.key));
    kv_buffer_append(&both, kv_buffer_bytes(&own.certificate));
    settings.certificates = kv_buffer_bytes(&both);
    settings.key = kv_bytes(NULL, 0);
    cr_assert(is_usable(&settings), "%s", why);
    kv_buffer_free(&both);
}

Test(tls_context, certificates_of_authorities_may_follow_the_own_one)
{
    struct kv_tls_settings settings = good();
    struct kv_buffer chain = KV_BUFFER_INIT;
    kv_buffer_append(&chain, kv_buffer_bytes(&own.certificate));
    kv_buffer_append(&chain, authority_certificate(authority));
    settings.certificates = kv_buffer_bytes(&chain);
    cr_assert(is_usable(&settings), "%s", why);
    kv_buffer_free(&chain);
}

Test(tls_context, a_key_with_a_password_needs_that_password)
{
    struct credentials closed = authority_sign(authority, "DNS:host", VALID, "open sesame");
    struct kv_tls_settings settings = good();
    settings.certificates = kv_buffer_bytes(&closed.certificate);
    settings.key = kv_buffer_bytes(&closed.key);
    settings.password = "open sesame";
    cr_assert(is_usable(&settings), "%s", why);
    settings.password = "another";
    refused(&settings, "the key cannot be used: ");
    settings.password = "";
    refused(&settings, "the key cannot be used: ");
    credentials_free(&closed);
}

Test(tls_context, the_key_of_another_certificate_is_refused)
{
    struct credentials other = authority_sign(authority, "DNS:host", VALID, NULL);
    struct kv_tls_settings settings = good();
    settings.key = kv_buffer_bytes(&other.key);
    refused(&settings, "the key cannot be used: key values mismatch");
    credentials_free(&other);
}

Test(tls_context, a_certificate_cut_anywhere_is_refused_or_whole)
{
    struct kv_tls_settings settings = good();
    const struct kv_bytes whole = settings.certificates;
    const size_t end =
        (size_t)(strstr((const char *)whole.data, "-----END") - (const char *)whole.data);
    for (size_t length = 0; length < end; length++) {
        settings.certificates = kv_bytes(whole.data, length);
        refused(&settings, "the certificate cannot be used: ");
    }
}

Test(tls_context, rubbish_is_refused_where_a_file_is_wanted)
{
    const struct kv_bytes rubbish = kv_bytes_text("-----BEGIN CERTIFICATE-----\nrubbish\n");
    struct kv_tls_settings settings = good();
    settings.certificates = rubbish;
    refused(&settings, "the certificate cannot be used: ");
    settings = good();
    settings.key = rubbish;
    refused(&settings, "the key cannot be used: ");
    settings = good();
    settings.authorities = rubbish;
    refused(&settings, "the certificates of the authorities cannot be used: ");
    settings = good();
    settings.dh = rubbish;
    refused(&settings, "the parameters of Diffie-Hellman cannot be used: ");
}

Test(tls_context, verification_needs_authorities)
{
    struct kv_tls_settings settings = good();
    settings.authorities = kv_bytes(NULL, 0);
    refused(&settings, "there are no certificates of authorities");
    settings.verify = false;
    cr_assert(is_usable(&settings), "%s", why);
}

Test(tls_context, ciphers_of_both_versions_may_be_mixed)
{
    struct kv_tls_settings settings = good();
    settings.ciphers =
        "TLS_AES_128_GCM_SHA256:ECDHE-ECDSA-AES128-GCM-SHA256:TLS_AES_256_GCM_SHA384";
    cr_assert(is_usable(&settings), "%s", why);
    settings.ciphers = "TLS_AES_128_GCM_SHA256";
    cr_assert(is_usable(&settings), "%s", why);
    settings.ciphers = "NO-SUCH-CIPHER";
    refused(&settings, "the ciphers cannot be used: no cipher match");
    settings.ciphers = "TLS_NO_SUCH_CIPHER";
    refused(&settings, "the ciphers cannot be used: no cipher match");
}

Test(tls_context, hosts_are_copied)
{
    char host[] = "a host";
    const char *hosts[] = {host};
    struct kv_tls_settings settings = good();
    settings.hosts = hosts;
    settings.host_count = 1;
    struct kv_tls_context *context = kv_tls_context_new(&settings, why);
    host[0] = '\0';
    cr_assert_not_null(context);
    kv_tls_context_drop(context);
}
