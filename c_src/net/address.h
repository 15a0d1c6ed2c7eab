/* Addresses of sockets: as text, and their port. */
#ifndef KV_NET_ADDRESS_H
#define KV_NET_ADDRESS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

enum { KV_ADDRESS_TEXT = 80 }; /* bytes of any text below, with its terminator */

/* The address of this end of a socket, or of the other one. Returns false if the socket has none
 * (any more); *address is all zero then. */
bool kv_address_here(int socket, struct sockaddr_storage *address);
bool kv_address_there(int socket, struct sockaddr_storage *address);

/* The port, in the byte order of this machine. */
unsigned kv_address_port(const struct sockaddr_storage *address);

/* Writes "127.0.0.1:4711" or "[::1]:4711", as tools show it. */
void kv_address_write(const struct sockaddr_storage *address, char text[KV_ADDRESS_TEXT]);

/* Writes "127.0.0.1 port 4711", as log lines have it, or "an unknown address port 0". */
void kv_address_describe(const struct sockaddr_storage *address, char text[KV_ADDRESS_TEXT]);

#endif
