#include "net/address.h"

#include <netinet/in.h>
#include <stdio.h>
#include <uv.h>

bool kv_address_here(int socket, struct sockaddr_storage *address)
{
    socklen_t length = sizeof(*address);
    *address = (struct sockaddr_storage){0};
    return getsockname(socket, (struct sockaddr *)address, &length) == 0;
}

bool kv_address_there(int socket, struct sockaddr_storage *address)
{
    socklen_t length = sizeof(*address);
    *address = (struct sockaddr_storage){0};
    return getpeername(socket, (struct sockaddr *)address, &length) == 0;
}

unsigned kv_address_port(const struct sockaddr_storage *address)
{
    return address->ss_family == AF_INET6
               ? ntohs(((const struct sockaddr_in6 *)(const void *)address)->sin6_port)
               : ntohs(((const struct sockaddr_in *)(const void *)address)->sin_port);
}

static void write_host(const struct sockaddr_storage *address, char host[INET6_ADDRSTRLEN])
{
    if (address->ss_family == AF_INET6) {
        (void)uv_ip6_name((const void *)address, host, INET6_ADDRSTRLEN);
    } else if (address->ss_family == AF_INET) {
        (void)uv_ip4_name((const void *)address, host, INET6_ADDRSTRLEN);
    }
}

void kv_address_write(const struct sockaddr_storage *address, char text[KV_ADDRESS_TEXT])
{
    char host[INET6_ADDRSTRLEN] = "0.0.0.0";
    write_host(address, host);
    bool six = address->ss_family == AF_INET6;
    (void)snprintf(text, KV_ADDRESS_TEXT, "%s%s%s:%u", six ? "[" : "", host, six ? "]" : "",
                   kv_address_port(address));
}

void kv_address_describe(const struct sockaddr_storage *address, char text[KV_ADDRESS_TEXT])
{
    char host[INET6_ADDRSTRLEN] = "an unknown address";
    write_host(address, host);
    (void)snprintf(text, KV_ADDRESS_TEXT, "%s port %u", host, kv_address_port(address));
}
