#include "node/place.h"

#include "host/exhausted.h"

#include <stdio.h>

const char *kv_place_host(const struct kv_options *options)
{
    return options->bind[0] != '\0' ? options->bind : kv_options_host(options);
}

struct addrinfo kv_place_hints(void)
{
    return (struct addrinfo){.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
}

const struct addrinfo *kv_place_choose(const struct addrinfo *found)
{
    for (const struct addrinfo *one = found; one != NULL; one = one->ai_next) {
        if (one->ai_family == AF_INET) {
            return one;
        }
    }
    return found;
}

static bool is_bound(const struct kv_options *options)
{
    return options->bind[0] != '\0';
}

static const char *listening_advice(const struct kv_options *options, int error)
{
    switch (error) {
    case UV_EADDRINUSE:
        return "choose another --port; 0 is any free one";
    case UV_EACCES:
        return "a port below 1024 needs privileges; choose another --port";
    case UV_EADDRNOTAVAIL:
        return is_bound(options)
                   ? "--bind must be an address of this machine"
                   : "the host part of --name must lead to this machine; if it leads to a gateway, "
                     "say with --bind where to listen";
    default:
        return "choose another --port, or an address of this machine with --bind";
    }
}

void kv_place_cannot_listen(const struct kv_options *options, int error,
                            char text[KV_PLACE_SENTENCE])
{
    (void)snprintf(text, KV_PLACE_SENTENCE, "cannot listen at %s port %u (%s): %s",
                   kv_place_host(options), (unsigned)options->port, uv_strerror(error),
                   listening_advice(options, error));
}

void kv_place_unresolved(const struct kv_options *options, int error, char text[KV_PLACE_SENTENCE])
{
    const int length =
        snprintf(text, KV_PLACE_SENTENCE, "%s has no address (%s): ", kv_place_host(options),
                 uv_strerror(error));
    const size_t room = KV_PLACE_SENTENCE - (size_t)length;
    if (error == UV_EAI_MEMORY) {
        (void)snprintf(text + length, room, "raise the limit of memory (%s)",
                       kv_limits_of_memory());
    } else {
        (void)snprintf(text + length, room, "%s",
                       is_bound(options)
                           ? "--bind must be an address of this machine, or a host with one"
                           : "is the host part of --name right?");
    }
}
