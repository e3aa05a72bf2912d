/* What the files of the plane share. Two kinds of locks, taken in this order:
 *
 *   plane.lock   peers, tables, addresses, keys for receiving, histories, receptions
 *   shard.lock   what sending needs: the member arrays and jobs of one sending thread, and the
 *                sending half of the peers that belong to it
 *
 * A peer belongs to one shard for life (its handle modulo the number of sending threads). A
 * sending thread takes its shard's lock for one batch at a time and lets go of it while the
 * kernel takes the datagrams; it never takes plane.lock. So a join costs two short waits, and
 * freeing a peer under both locks is safe: no other thread can hold a pointer to it. */
#ifndef CHATROOM_INTERNAL_H
#define CHATROOM_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "core.h"
#include "srtp.h"
#include "stun.h"

enum {
    BATCH = 128,          /* datagrams to one sendmmsg */
    MAX_SOCKETS = 8,
    MAX_THREADS = 32,
    MAX_ROUTES = 8,       /* addresses kept of one peer while its pairs are tried */
    MAX_JOBS = 1024,      /* that may wait in one shard */
    HISTORY = 512,        /* packets kept of one group */
    SAMPLES = 4096,       /* reports kept of one group */
    SENDER_REPORTS = 64,
    INLINE_OFFSETS = 4,
};

/* ---- an open-addressing table from a 64-bit hash to pointers (table.c) */

struct table {
    struct table_slot { uint64_t hash; void *value; } *slots;
    size_t mask, count;   /* mask + 1 slots, a power of two */
};

typedef bool table_match(const void *value, const void *key);
void *table_find(const struct table *t, uint64_t hash, table_match *match, const void *key);
bool table_put(struct table *t, uint64_t hash, void *value); /* false: no memory */
void table_remove(struct table *t, uint64_t hash, const void *value);
void table_free(struct table *t);
uint64_t hash_bytes(uint64_t seed, const void *data, size_t length);

/* ---- events for Python (events.c) */

struct events {
    pthread_mutex_t lock;
    uint8_t *ring;
    size_t capacity, head, used;
    int fd;               /* readable while something is queued */
};

enum { EVENT_VALIDATED = 1, EVENT_DATAGRAM, EVENT_RTP, EVENT_RTCP, EVENT_EXPIRED };
bool events_init(struct events *e, size_t capacity);
void events_free(struct events *e);
bool events_push(struct events *e, const plane_event *event, const void *data);
size_t events_drain(struct events *e, uint8_t *out, size_t capacity);

/* ---- peers */

struct credential {
    struct peer *peer;
    struct mac_state key;  /* of the password */
    size_t length;
    char ufrag[];
};

struct endpoint {          /* where a datagram goes, and from which of our addresses */
    union address to;      /* as the socket gave it */
    uint8_t socket;
    uint8_t local_family;  /* 4 or 6; 0: the socket has but one address */
    uint8_t local[16];
};

struct route {             /* an address from which a peer passed a check */
    struct route *next;
    struct peer *peer;
    double checked;
    struct endpoint at;
};

struct offset {
    int64_t add;
    uint32_t ssrc;
};

struct peer {
    /* shard.lock; in the order in which the sending thread reads it */
    struct crypt send;
    struct endpoint to;
    uint8_t payload_type, offset_count;
    bool keyed, reachable;
    uint32_t position, shard; /* in its group's array; shard never changes */
    struct offset *more;      /* all offsets, where there are more than INLINE_OFFSETS */
    struct offset offsets[INLINE_OFFSETS];
    uint32_t rtcp_index;
    struct session_key send_rtcp;
    uint8_t profile;
    /* plane.lock (group: written under both) */
    struct group *group;
    uint64_t handle, since;   /* since: the group's sends before it joined */
    size_t place;             /* in plane.all */
    struct credential *current, *previous;
    struct route *routes, *nominated, *latest; /* routes: the newest check first */
    double checked;
    bool expired, can_receive;
    struct session_keys receive;
    struct stream *streams;
    double nack_tokens, nack_at;
};

/* ---- groups and what is sent to them */

struct packet {            /* one plaintext; shared by jobs and the history */
    atomic_int references;
    bool rtcp;
    size_t header, length;
    uint64_t index, order; /* order: position among the group's sends, from 1 */
    double at;
    uint32_t ssrc;
    uint8_t data[];
};

struct job {               /* one packet to the members of one group in one shard */
    struct job *next;
    struct group *group;
    struct packet *packet;
    /* Members [0, remaining) are still to be served, from the end down. So whoever joins (at
     * the end of the array) is past it and gets nothing; see remove_member for who leaves. */
    uint32_t remaining, total;
    bool follows;          /* an earlier job has the same SSRC: must not overtake it */
    double start, spread;
};

struct members {
    struct peer **all;
    uint32_t count, capacity;
};

struct sample {
    float loss, jitter_ms;
};

struct group {
    uint64_t handle, order;
    struct packet **history; /* ring of HISTORY, made at the first send */
    uint32_t newest;
    uint64_t reports, round_trips_seen;
    double loss_sum;
    struct sample *samples;  /* SAMPLES, and as many round trips, made at the first report */
    float *round_trips;
    struct { uint32_t middle; double at; } sender_reports[SENDER_REPORTS];
    uint32_t sender_report_next;
    struct members shards[]; /* one a shard, each under that shard's lock */
};

struct shard {
    pthread_mutex_t lock;
    pthread_cond_t wake;
    pthread_t thread;
    struct plane *plane;
    struct job *jobs, **end;
    uint32_t job_count;
    bool stop;
    double stop_at;
    double awake_since;    /* 0 while it waits */
    double busy_s, late_s; /* until then, and the worst: since the last plane_take_backlog */
    uint64_t shed, cpu_ns; /* cpu_ns: at the last plane_take_backlog, which alone uses it */
    atomic_ullong datagrams;
    struct crypt scratch;  /* SRTCP keys are set for each packet: they are rare */
    struct outbox *outbox;
};

struct receiver {
    pthread_t thread;
    struct plane *plane;
    struct crypt scratch;
    struct inbox *inbox;
    uint8_t socket;
};

struct counters {          /* those of plane_counters that threads add to */
    atomic_ullong packets_sent, bytes_sent, packets_received, bytes_received, send_blocked,
        retransmitted, retransmissions_refused, stun_malformed, stun_unknown_peer,
        stun_bad_integrity, dtls_unknown_peer, srtp_unknown_peer, srtp_no_keys, srtp_auth,
        srtp_replay, srtcp_auth, rtp_malformed, rtp_too_many_sources, not_webrtc, queue_full,
        group_packets_queued, shed;
};

#define COUNT(p, what, n)                                                                        \
    atomic_fetch_add_explicit(&(p)->counters.what, (unsigned long long)(n), memory_order_relaxed)

struct plane {
    pthread_mutex_t lock;
    plane_options options;
    int sockets[MAX_SOCKETS];
    bool wildcard[MAX_SOCKETS]; /* has all of the machine's addresses */
    int socket_count, shard_count, shards_started, receivers_started;
    int stop_fd;
    uint64_t seed, next_handle;
    struct table by_handle, by_ufrag, by_address, groups;
    struct peer **all;
    size_t peer_count, peer_capacity;
    struct crypt scratch;  /* the calling thread's, under `lock` */
    uint32_t random;
    double backlog_at;     /* of the last plane_take_backlog; the calling thread's */
    _Atomic double shed_at; /* when packets were last shed for want of time */
    struct counters counters;
    struct events events;
    struct shard shards[MAX_THREADS];
    struct receiver receivers[MAX_SOCKETS];
};

double now_s(void);
static inline double larger(double a, double b) { return a > b ? a : b; }
static inline double smaller(double a, double b) { return a < b ? a : b; }

/* peers.c; plane.lock held unless said otherwise */
struct peer *peer_find(struct plane *p, uint64_t handle);
struct credential *credential_find(struct plane *p, const char *ufrag, size_t length);
struct route *route_find(struct plane *p, const union address *a);
/* An authenticated check came; answers whether the address is the peer's (now). */
bool peer_checked(struct plane *p, struct peer *peer, struct credential *used,
                  const struct endpoint *from, bool nominate, double now, bool *changed);
void peers_sweep(struct plane *p, double now); /* takes the lock itself */
void peer_free(struct peer *peer);
bool take_nack_token(const plane_options *o, struct peer *peer, double now);

/* groups.c; plane.lock held */
struct group *group_find(struct plane *p, uint64_t handle);
void group_leave(struct plane *p, struct peer *peer);
struct packet *group_history(struct group *g, const struct peer *peer, uint32_t ssrc,
                             uint16_t sequence, double oldest);
void group_report(struct plane *p, struct group *g, const uint8_t *block, double now);
void group_free(struct plane *p, struct group *g);
void packet_release(struct packet *packet);

/* send.c */
bool shard_start(struct shard *s);
bool shard_add(struct shard *s, struct group *g, struct packet *packet, double spread);
/* One packet for one member, shard.lock held: its length, 0 where it cannot be sent. `scratch`
 * is used for SRTCP. */
size_t member_packet(struct peer *peer, const struct packet *packet, struct crypt *scratch,
                     bool plain, uint8_t *out);
/* How far behind a job is: the time since its next datagram was due. shard.lock held. */
double job_late(const struct job *job, double now);
int64_t peer_offset(const struct peer *peer, uint32_t ssrc);
/* Sends and counts; no lock needed. */
bool send_one(struct plane *p, const struct endpoint *to, const uint8_t *data, size_t length);
bool outbox_init(struct shard *s);
void outbox_free(struct shard *s);

/* receive.c */
bool receiver_start(struct receiver *r);
void receiver_free(struct receiver *r);

/* feedback.c: whether there is something in a member's compound packet for Python */
bool take_feedback(struct plane *p, struct peer *peer, const uint8_t *packet, size_t length,
                   double now);

#endif
