#include "support/authority.h"

#include <criterion/criterion.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <string.h>

enum { DAY = 24 * 3600 };

struct authority {
    EVP_PKEY *key;
    X509 *certificate;
    struct kv_buffer pem;
};

static void append_pem(struct kv_buffer *to, BIO *from)
{
    char *data = NULL;
    const long length = BIO_get_mem_data(from, &data);
    kv_buffer_append(to, kv_bytes((const uint8_t *)data, (size_t)length));
    *kv_buffer_reserve(to, 1) = 0;
    BIO_free(from);
}

static struct kv_buffer pem_of(X509 *certificate)
{
    struct kv_buffer pem = KV_BUFFER_INIT;
    BIO *to = BIO_new(BIO_s_mem());
    cr_assert_eq(PEM_write_bio_X509(to, certificate), 1);
    append_pem(&pem, to);
    return pem;
}

static struct kv_buffer pem_of_key(EVP_PKEY *key, const char *password)
{
    struct kv_buffer pem = KV_BUFFER_INIT;
    BIO *to = BIO_new(BIO_s_mem());
    const EVP_CIPHER *cipher = password == NULL ? NULL : EVP_aes_128_cbc();
    cr_assert_eq(
        PEM_write_bio_PrivateKey(to, key, cipher, NULL, 0, NULL, (void *)(uintptr_t)password), 1);
    append_pem(&pem, to);
    return pem;
}

static void add_extension(X509 *certificate, int kind, const char *value)
{
    X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, NULL, kind, value);
    cr_assert_not_null(extension, "%s", value);
    cr_assert_eq(X509_add_ext(certificate, extension, -1), 1);
    X509_EXTENSION_free(extension);
}

/* Not signed yet. */
static X509 *blank(EVP_PKEY *key, const char *name, enum validity validity)
{
    static long serial = 1;
    X509 *certificate = X509_new();
    X509_set_version(certificate, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(certificate), serial++);
    X509_gmtime_adj(X509_getm_notBefore(certificate), -10L * DAY);
    X509_gmtime_adj(X509_getm_notAfter(certificate), validity == VALID ? 10L * DAY : -1L * DAY);
    X509_set_pubkey(certificate, key);
    X509_NAME_add_entry_by_txt(X509_get_subject_name(certificate), "CN", MBSTRING_ASC,
                               (const unsigned char *)name, -1, -1, 0);
    return certificate;
}

struct authority *authority_new(const char *name)
{
    struct authority *authority = calloc(1, sizeof *authority);
    authority->key = EVP_EC_gen("P-256");
    authority->certificate = blank(authority->key, name, VALID);
    X509_set_issuer_name(authority->certificate, X509_get_subject_name(authority->certificate));
    add_extension(authority->certificate, NID_basic_constraints, "critical,CA:TRUE");
    cr_assert(X509_sign(authority->certificate, authority->key, EVP_sha256()) > 0);
    authority->pem = pem_of(authority->certificate);
    return authority;
}

void authority_free(struct authority *authority)
{
    EVP_PKEY_free(authority->key);
    X509_free(authority->certificate);
    kv_buffer_free(&authority->pem);
    free(authority);
}

struct kv_bytes authority_certificate(const struct authority *authority)
{
    return kv_buffer_bytes(&authority->pem);
}

struct credentials authority_sign(const struct authority *authority, const char *names,
                                  enum validity validity, const char *password)
{
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *certificate = blank(key, "a node", validity);
    X509_set_issuer_name(certificate, X509_get_subject_name(authority->certificate));
    if (names != NULL) {
        add_extension(certificate, NID_subject_alt_name, names);
    }
    cr_assert(X509_sign(certificate, authority->key, EVP_sha256()) > 0);
    struct credentials credentials = {.certificate = pem_of(certificate),
                                      .key = pem_of_key(key, password)};
    X509_free(certificate);
    EVP_PKEY_free(key);
    return credentials;
}

struct kv_tls_settings authority_rules(const struct authority *authority,
                                       const struct credentials *own)
{
    return (struct kv_tls_settings){.certificates = kv_buffer_bytes(&own->certificate),
                                    .key = kv_buffer_bytes(&own->key),
                                    .authorities = authority_certificate(authority),
                                    .password = "",
                                    .ciphers = "",
                                    .versions = KV_TLS_1_2 | KV_TLS_1_3,
                                    .depth = 10,
                                    .verify = true,
                                    .must_have = true};
}

void credentials_free(struct credentials *credentials)
{
    kv_buffer_free(&credentials->certificate);
    kv_buffer_free(&credentials->key);
}
