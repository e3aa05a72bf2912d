/* Groups: who is in them, what was sent to them, and what they say of it. */
#include <stdlib.h>
#include <string.h>

#include "internal.h"

static bool has_handle(const void *value, const void *key) {
    return ((const struct group *)value)->handle == *(const uint64_t *)key;
}

struct group *group_find(struct plane *p, uint64_t handle) {
    return table_find(&p->groups, hash_bytes(p->seed, &handle, sizeof handle), has_handle,
                      &handle);
}

uint64_t plane_add_group(plane *p) {
    struct group *g = calloc(1, sizeof *g + (size_t)p->shard_count * sizeof g->shards[0]);
    if (g == NULL)
        return 0;
    pthread_mutex_lock(&p->lock);
    uint64_t handle = g->handle = p->next_handle++;
    if (!table_put(&p->groups, hash_bytes(p->seed, &handle, sizeof handle), g)) {
        free(g);
        handle = 0;
    }
    pthread_mutex_unlock(&p->lock);
    return handle;
}

void packet_release(struct packet *packet) {
    if (packet != NULL && atomic_fetch_sub(&packet->references, 1) == 1)
        free(packet);
}

void group_free(struct plane *p, struct group *g) {
    for (int i = 0; i < p->shard_count; i++)
        free(g->shards[i].all);
    for (int i = 0; g->history != NULL && i < HISTORY; i++)
        packet_release(g->history[i]);
    free(g->history);
    free(g->samples);
    free(g->round_trips);
    free(g);
}

int plane_remove_group(plane *p, uint64_t handle) {
    pthread_mutex_lock(&p->lock);
    struct group *g = group_find(p, handle);
    if (g != NULL) {
        for (int i = 0; i < p->shard_count; i++) {
            struct shard *s = &p->shards[i];
            /* `count` changes under both locks, so one of them is enough to read it */
            while (g->shards[i].count > 0)
                group_leave(p, g->shards[i].all[g->shards[i].count - 1]);
            pthread_mutex_lock(&s->lock);
            for (struct job *j = s->jobs; j != NULL; j = j->next)
                if (j->group == g)
                    j->group = NULL; /* served to the end: the thread drops it */
            pthread_mutex_unlock(&s->lock);
        }
        table_remove(&p->groups, hash_bytes(p->seed, &handle, sizeof handle), g);
        group_free(p, g);
    }
    pthread_mutex_unlock(&p->lock);
    return g != NULL ? 0 : -1;
}

/* ---- members */

static void move_member(struct members *m, uint32_t from, uint32_t to) {
    if (from == to) /* the hole itself, with a pointer of old in it */
        return;
    m->all[to] = m->all[from];
    m->all[to]->position = to;
}

/* Takes the member at `hole` out. For every job that has not come to it, the job's border moves
 * down by one: the last unserved member fills the hole, and the hole is now among the served.
 * From the lowest border up this ends with a hole that every job has passed, and the last
 * member of all fills that. What the leaving member was still to get, it gets here. */
static void remove_member(struct plane *p, struct shard *s, struct group *g, struct peer *peer) {
    struct members *m = &g->shards[peer->shard];
    uint32_t hole = peer->position;
    uint8_t out[MAX_DATAGRAM];
    for (;;) {
        struct job *next = NULL;
        for (struct job *j = s->jobs; j != NULL; j = j->next)
            if (j->group == g && j->remaining > hole &&
                (next == NULL || j->remaining < next->remaining))
                next = j;
        if (next == NULL)
            break;
        size_t length = member_packet(peer, next->packet, &p->scratch, p->options.plain_crypto,
                                      out);
        if (length > 0)
            send_one(p, &peer->to, out, length);
        next->remaining--;
        move_member(m, next->remaining, hole);
        hole = next->remaining;
    }
    m->count--;
    move_member(m, m->count, hole);
}

void group_leave(struct plane *p, struct peer *peer) {
    if (peer->group == NULL)
        return;
    struct shard *s = &p->shards[peer->shard];
    pthread_mutex_lock(&s->lock);
    remove_member(p, s, peer->group, peer);
    peer->group = NULL;
    pthread_mutex_unlock(&s->lock);
}

static bool member_room(struct members *m) {
    if (m->count < m->capacity)
        return true;
    uint32_t capacity = m->capacity ? 2 * m->capacity : 16;
    struct peer **all = realloc(m->all, capacity * sizeof *all);
    if (all == NULL)
        return false;
    m->all = all;
    m->capacity = capacity;
    return true;
}

int plane_join_group(plane *p, uint64_t group, uint64_t handle, int payload_type,
                     const uint32_t *ssrcs, const int64_t *offsets, size_t count) {
    int result = -1;
    struct offset *more = NULL;
    if (payload_type < 0 || payload_type > 127 || count > 64)
        return -1;
    if (count > INLINE_OFFSETS && (more = calloc(count, sizeof *more)) == NULL)
        return -1;
    pthread_mutex_lock(&p->lock);
    struct group *g = group_find(p, group);
    struct peer *peer = peer_find(p, handle);
    if (g != NULL && peer != NULL) {
        group_leave(p, peer);
        struct shard *s = &p->shards[peer->shard];
        struct members *m = &g->shards[peer->shard];
        pthread_mutex_lock(&s->lock);
        if (member_room(m)) {
            free(peer->more);
            peer->more = more;
            more = NULL;
            struct offset *into = count > INLINE_OFFSETS ? peer->more : peer->offsets;
            for (size_t i = 0; i < count; i++)
                into[i] = (struct offset){offsets[i], ssrcs[i]};
            peer->offset_count = (uint8_t)count;
            peer->payload_type = (uint8_t)payload_type;
            peer->position = m->count;
            peer->group = g;
            m->all[m->count++] = peer;
            result = 0;
        }
        pthread_mutex_unlock(&s->lock);
        peer->since = g->order;
        peer->nack_tokens = p->options.retransmit_burst;
        peer->nack_at = now_s();
    }
    pthread_mutex_unlock(&p->lock);
    free(more);
    return result;
}

int plane_leave_group(plane *p, uint64_t group, uint64_t handle) {
    int result = -1;
    pthread_mutex_lock(&p->lock);
    struct peer *peer = peer_find(p, handle);
    if (peer != NULL && peer->group != NULL && peer->group->handle == group) {
        group_leave(p, peer);
        result = 0;
    }
    pthread_mutex_unlock(&p->lock);
    return result;
}

/* ---- sending */

static struct packet *packet_new(const uint8_t *data, size_t length) {
    struct packet *packet = malloc(sizeof *packet + length);
    if (packet == NULL)
        return NULL;
    memset(packet, 0, sizeof *packet);
    atomic_init(&packet->references, 1);
    packet->length = length;
    memcpy(packet->data, data, length);
    return packet;
}

static void keep(struct plane *p, struct group *g, struct packet *packet) {
    packet->order = ++g->order;
    if (g->history == NULL && (g->history = calloc(HISTORY, sizeof *g->history)) == NULL)
        return;
    g->newest = (g->newest + 1) % HISTORY;
    packet_release(g->history[g->newest]);
    atomic_fetch_add(&packet->references, 1);
    g->history[g->newest] = packet;
    /* what nobody may ask for any more is given back, from the oldest on */
    for (uint32_t i = (g->newest + 1) % HISTORY; i != g->newest; i = (i + 1) % HISTORY) {
        if (g->history[i] == NULL)
            continue;
        if (packet->at - g->history[i]->at <= p->options.history_s)
            break;
        packet_release(g->history[i]);
        g->history[i] = NULL;
    }
}

static int queue(struct plane *p, struct group *g, struct packet *packet, double spread) {
    int result = 0;
    for (int i = 0; i < p->shard_count; i++)
        if (!shard_add(&p->shards[i], g, packet, spread))
            result = -1;
    COUNT(p, group_packets_queued, 1);
    return result;
}

int plane_send_group(plane *p, uint64_t group, const uint8_t *data, size_t length, uint64_t index,
                     double spread_s) {
    size_t header = rtp_header_length(data, length);
    if (header == 0 || length > MAX_DATAGRAM - SRTP_OVERHEAD)
        return -1;
    struct packet *packet = packet_new(data, length);
    if (packet == NULL)
        return -1;
    packet->header = header;
    packet->index = index;
    packet->ssrc = read_32(data + 8);
    packet->at = now_s();
    int result = -2;
    pthread_mutex_lock(&p->lock);
    struct group *g = group_find(p, group);
    if (g != NULL) {
        keep(p, g, packet);
        result = queue(p, g, packet, spread_s);
    }
    pthread_mutex_unlock(&p->lock);
    packet_release(packet);
    return result;
}

int plane_send_group_rtcp(plane *p, uint64_t group, const uint8_t *data, size_t length) {
    if (length < 8 || length > MAX_DATAGRAM - SRTP_OVERHEAD)
        return -1;
    struct packet *packet = packet_new(data, length);
    if (packet == NULL)
        return -1;
    packet->rtcp = true;
    packet->ssrc = read_32(data + 4);
    packet->at = now_s();
    int result = -2;
    pthread_mutex_lock(&p->lock);
    struct group *g = group_find(p, group);
    if (g != NULL) {
        if (length >= 28 && data[1] == 200) { /* a sender report: round trips count from it */
            uint32_t n = g->sender_report_next++ % SENDER_REPORTS;
            g->sender_reports[n].middle = read_32(data + 10);
            g->sender_reports[n].at = packet->at;
        }
        uint32_t members = 0;
        for (int i = 0; i < p->shard_count; i++)
            members += g->shards[i].count;
        /* nobody waits for a report: 10 us each, so that it does not go out as one burst */
        result = queue(p, g, packet, members > 1000 ? members * 1e-5 : 0);
    }
    pthread_mutex_unlock(&p->lock);
    packet_release(packet);
    return result;
}

struct packet *group_history(struct group *g, const struct peer *peer, uint32_t ssrc,
                             uint16_t sequence, double oldest) {
    if (g->history == NULL)
        return NULL;
    uint16_t own = (uint16_t)(sequence - (uint16_t)peer_offset(peer, ssrc));
    for (uint32_t n = 0; n < HISTORY; n++) {
        struct packet *packet = g->history[(g->newest + HISTORY - n) % HISTORY];
        /* Only what this member was sent in this group: under the numbers of an earlier group
         * there is another packet, and an index must never be used for two. */
        if (packet == NULL || packet->order <= peer->since || packet->at < oldest)
            return NULL;
        if (packet->ssrc == ssrc && (uint16_t)packet->index == own)
            return packet;
    }
    return NULL;
}

/* ---- receiver reports */

static uint32_t next_random(struct plane *p) { /* xorshift: which samples stay */
    p->random ^= p->random << 13;
    p->random ^= p->random >> 17;
    p->random ^= p->random << 5;
    return p->random;
}

/* Where the n-th value goes so that the sample stays uniform (reservoir sampling). */
static uint32_t sample_place(struct plane *p, uint64_t n) {
    return n <= SAMPLES ? (uint32_t)(n - 1) : (uint32_t)(next_random(p) % n);
}

void group_report(struct plane *p, struct group *g, const uint8_t *block, double now) {
    if (g->samples == NULL)
        g->samples = malloc(SAMPLES * sizeof *g->samples);
    if (g->round_trips == NULL)
        g->round_trips = malloc(SAMPLES * sizeof *g->round_trips);
    if (g->samples == NULL || g->round_trips == NULL)
        return;
    double loss = block[4] / 256.0;
    g->reports++;
    g->loss_sum += loss;
    uint32_t at = sample_place(p, g->reports);
    if (at < SAMPLES)
        g->samples[at] = (struct sample){(float)loss, (float)(read_32(block + 12) / 48.0)};
    uint32_t middle = read_32(block + 16);
    for (int i = 0; middle != 0 && i < SENDER_REPORTS; i++) {
        if (g->sender_reports[i].middle != middle)
            continue;
        double trip = now - g->sender_reports[i].at - read_32(block + 20) / 65536.0;
        at = sample_place(p, ++g->round_trips_seen);
        if (at < SAMPLES)
            g->round_trips[at] = (float)(trip > 0 ? trip * 1000 : 0);
        break;
    }
}

static int ascending(const void *a, const void *b) {
    float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

static double percentile(const float *values, size_t n, double share) {
    size_t at = (size_t)(share * (double)n);
    return n == 0 ? 0 : values[at < n ? at : n - 1];
}

int plane_take_reception(plane *p, uint64_t group, plane_reception *out) {
    memset(out, 0, sizeof *out);
    pthread_mutex_lock(&p->lock);
    struct group *g = group_find(p, group);
    if (g == NULL) {
        pthread_mutex_unlock(&p->lock);
        return -2;
    }
    size_t n = g->reports < SAMPLES ? g->reports : SAMPLES;
    size_t trips_n = g->round_trips_seen < SAMPLES ? g->round_trips_seen : SAMPLES;
    struct sample *samples = g->samples;
    float *trips = g->round_trips;
    out->reports = g->reports;
    out->loss_mean = g->reports ? g->loss_sum / (double)g->reports : 0;
    g->samples = NULL;
    g->round_trips = NULL;
    g->reports = g->round_trips_seen = 0;
    g->loss_sum = 0;
    pthread_mutex_unlock(&p->lock); /* sorting is not done under it */
    float *values = malloc((n + 1) * sizeof *values);
    if (values != NULL && n > 0) {
        for (size_t i = 0; i < n; i++)
            values[i] = samples[i].loss;
        qsort(values, n, sizeof *values, ascending);
        out->loss_p95 = percentile(values, n, 0.95);
        for (size_t i = 0; i < n; i++)
            values[i] = samples[i].jitter_ms;
        qsort(values, n, sizeof *values, ascending);
        out->jitter_ms_p50 = percentile(values, n, 0.50);
        out->jitter_ms_p95 = percentile(values, n, 0.95);
        if (trips_n > 0)
            qsort(trips, trips_n, sizeof *trips, ascending);
        out->rtt_ms_p50 = percentile(trips, trips_n, 0.50);
        out->rtt_ms_p95 = percentile(trips, trips_n, 0.95);
    }
    free(values);
    free(samples);
    free(trips);
    return 0;
}
