/* What a joined listener goes on sending: consent checks (RFC 7675) and receiver reports (RFC 3550). */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "sink.h"
#include "srtp.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { TICK_MS = 10, MAX_CHECK = 192, REPORT_SIZE = 32 };

struct kept {
    struct crypt crypt;
    uint8_t check[MAX_CHECK];
    size_t check_size;
    uint32_t to_address, own_ssrc, reports;
    uint16_t to_port;
    uint8_t active;
};

struct upkeep {
    sink *sink;
    struct kept *clients;
    uint32_t count, check_ms, report_ms;
    pthread_mutex_t lock; /* the clients: held by the thread for one client at a time */
    pthread_cond_t stop;
    int stopping, running;
    pthread_t thread;
};

static void report(struct upkeep *u, uint32_t index, struct kept *k) {
    sink_reception r;
    uint8_t packet[REPORT_SIZE] = {0x81, 201, 0, 7}, sealed[REPORT_SIZE + SRTP_OVERHEAD];
    if (!sink_reception_of(u->sink, index, &r))
        return;
    write_32(packet + 4, k->own_ssrc);
    write_32(packet + 8, r.ssrc);
    write_32(packet + 12, (uint32_t)r.fraction << 24 | (r.lost & 0x7fffff));
    write_32(packet + 16, r.highest);
    size_t size = protect_rtcp(&k->crypt, packet, sizeof packet, ++k->reports, sealed);
    sink_send(u->sink, index, k->to_address, k->to_port, sealed, size);
}

static void visit(struct upkeep *u, uint32_t *position, uint64_t *done, uint64_t due, int reports) {
    for (; *done < due; ++*done, *position = *position + 1 < u->count ? *position + 1 : 0) {
        struct kept *k = &u->clients[*position];
        pthread_mutex_lock(&u->lock);
        if (k->active && reports)
            report(u, *position, k);
        else if (k->active)
            sink_send(u->sink, *position, k->to_address, k->to_port, k->check, k->check_size);
        pthread_mutex_unlock(&u->lock);
    }
}

static void *run(void *argument) {
    struct upkeep *u = argument;
    uint32_t checking = 0, reporting = 0;
    uint64_t checked = 0, reported = 0;
    struct timespec begin, now;
    clock_gettime(CLOCK_MONOTONIC, &begin);
    now = begin;
    pthread_mutex_lock(&u->lock);
    while (!u->stopping) {
        struct timespec next = {now.tv_sec, now.tv_nsec + TICK_MS * 1000000L};
        if (next.tv_nsec >= 1000000000L)
            next.tv_sec++, next.tv_nsec -= 1000000000L;
        pthread_cond_timedwait(&u->stop, &u->lock, &next);
        clock_gettime(CLOCK_MONOTONIC, &now);
        uint64_t ms = (uint64_t)(now.tv_sec - begin.tv_sec) * 1000 +
                      (uint64_t)((now.tv_nsec - begin.tv_nsec) / 1000000);
        pthread_mutex_unlock(&u->lock);
        visit(u, &checking, &checked, ms * u->count / u->check_ms, 0);
        visit(u, &reporting, &reported, ms * u->count / u->report_ms, 1);
        pthread_mutex_lock(&u->lock);
    }
    pthread_mutex_unlock(&u->lock);
    return NULL;
}

struct upkeep *upkeep_new(sink *s, uint32_t clients) {
    struct upkeep *u = calloc(1, sizeof *u);
    if (!u)
        return NULL;
    u->sink = s;
    u->count = clients;
    /* calloc: what is never joined costs no memory. */
    u->clients = calloc(clients ? clients : 1, sizeof *u->clients);
    if (!u->clients) {
        free(u);
        return NULL;
    }
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&u->stop, &monotonic);
    pthread_condattr_destroy(&monotonic);
    pthread_mutex_init(&u->lock, NULL);
    return u;
}

void upkeep_free(struct upkeep *u) {
    if (u->running) {
        pthread_mutex_lock(&u->lock);
        u->stopping = 1;
        pthread_cond_signal(&u->stop);
        pthread_mutex_unlock(&u->lock);
        pthread_join(u->thread, NULL);
    }
    for (uint32_t i = 0; i < u->count; i++)
        if (u->clients[i].active)
            crypt_wipe(&u->clients[i].crypt);
    pthread_mutex_destroy(&u->lock);
    pthread_cond_destroy(&u->stop);
    free(u->clients);
    free(u);
}

int sink_upkeep(sink *s, uint32_t check_ms, uint32_t report_ms) {
    struct upkeep *u = sink_upkeep_of(s);
    if (u->running || !u->count || !check_ms || !report_ms)
        return -1;
    u->check_ms = check_ms;
    u->report_ms = report_ms;
    u->running = pthread_create(&u->thread, NULL, run, u) == 0;
    return u->running ? 0 : -1;
}

int sink_keep(sink *s, uint32_t client, uint32_t to_address, uint16_t to_port, const void *check,
              size_t check_size, int profile, const void *master, uint32_t own_ssrc) {
    struct upkeep *u = sink_upkeep_of(s);
    struct session_keys keys;
    if (client >= u->count || check_size > MAX_CHECK || derive_keys(&keys, profile, master, 0) < 0)
        return -1;
    struct kept *k = &u->clients[client];
    pthread_mutex_lock(&u->lock);
    int keyed = key_crypt(&k->crypt, profile, &keys.rtcp, 0);
    if (keyed == 0) {
        memcpy(k->check, check, check_size);
        k->check_size = check_size;
        k->to_address = to_address;
        k->to_port = to_port;
        k->own_ssrc = own_ssrc;
        k->reports = 0;
        k->active = 1;
    }
    pthread_mutex_unlock(&u->lock);
    return keyed == 0 ? 0 : -1;
}

void sink_release(sink *s, uint32_t client) {
    struct upkeep *u = sink_upkeep_of(s);
    if (client >= u->count)
        return;
    pthread_mutex_lock(&u->lock);
    if (u->clients[client].active)
        crypt_wipe(&u->clients[client].crypt);
    u->clients[client].active = 0;
    pthread_mutex_unlock(&u->lock);
}
