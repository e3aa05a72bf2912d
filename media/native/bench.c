/* What bench/fanout.py compares with: the kernel's share alone. Not used by the server. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#include "internal.h"

static uint64_t cpu_now(void) {
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

uint64_t bench_sendmmsg(int fd, const uint32_t *ips, uint16_t port, size_t count, size_t size,
                        size_t batch, size_t rounds, uint64_t *cpu_ns) {
    struct mmsghdr *messages = calloc(batch, sizeof *messages);
    struct sockaddr_in *to = calloc(count, sizeof *to);
    uint8_t *payload = calloc(1, size);
    struct iovec piece = {payload, size};
    uint64_t sent = 0;
    if (messages == NULL || to == NULL || payload == NULL)
        goto done;
    for (size_t i = 0; i < count; i++) {
        to[i].sin_family = AF_INET;
        to[i].sin_port = htons(port);
        to[i].sin_addr.s_addr = htonl(ips[i]);
    }
    uint64_t start = cpu_now();
    for (size_t round = 0; round < rounds; round++) {
        for (size_t at = 0; at < count;) {
            size_t n = count - at < batch ? count - at : batch;
            for (size_t i = 0; i < n; i++) {
                messages[i].msg_hdr.msg_name = &to[at + i];
                messages[i].msg_hdr.msg_namelen = sizeof to[0];
                messages[i].msg_hdr.msg_iov = &piece;
                messages[i].msg_hdr.msg_iovlen = 1;
            }
            int done = sendmmsg(fd, messages, (unsigned)n, 0);
            if (done < 0 && errno != EINTR)
                goto done;
            at += done > 0 ? (size_t)done : 0;
            sent += done > 0 ? (uint64_t)done : 0;
        }
    }
    *cpu_ns = cpu_now() - start;
done:
    free(messages);
    free(to);
    free(payload);
    return sent;
}

int bench_send_from(int fd, uint32_t from_ip, uint16_t to_port, const uint8_t *data,
                    size_t size) {
    union {
        struct cmsghdr header;
        uint8_t bytes[CMSG_SPACE(sizeof(struct in_pktinfo))];
    } control;
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(to_port)};
    struct iovec piece = {(void *)data, size};
    struct msghdr message = {.msg_name = &to, .msg_namelen = sizeof to, .msg_iov = &piece,
                             .msg_iovlen = 1, .msg_control = control.bytes,
                             .msg_controllen = sizeof control.bytes};
    struct in_pktinfo info = {.ipi_spec_dst.s_addr = htonl(from_ip)};
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    memset(&control, 0, sizeof control);
    control.header.cmsg_level = IPPROTO_IP;
    control.header.cmsg_type = IP_PKTINFO;
    control.header.cmsg_len = CMSG_LEN(sizeof info);
    memcpy(CMSG_DATA(&control.header), &info, sizeof info);
    return sendmsg(fd, &message, 0) == (ssize_t)size ? 0 : -1;
}
