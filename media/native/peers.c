/* Who is known, by what names, and where they are. */
#include <openssl/crypto.h>
#include <stdlib.h>
#include <string.h>

#include "internal.h"

/* ---- lookups */

static bool has_handle(const void *value, const void *key) {
    return ((const struct peer *)value)->handle == *(const uint64_t *)key;
}

struct peer *peer_find(struct plane *p, uint64_t handle) {
    return table_find(&p->by_handle, hash_bytes(p->seed, &handle, sizeof handle), has_handle,
                      &handle);
}

struct name {
    const char *text;
    size_t length;
};

static bool has_ufrag(const void *value, const void *key) {
    const struct credential *c = value;
    const struct name *n = key;
    return c->length == n->length && memcmp(c->ufrag, n->text, n->length) == 0;
}

struct credential *credential_find(struct plane *p, const char *ufrag, size_t length) {
    struct name n = {ufrag, length};
    return table_find(&p->by_ufrag, hash_bytes(p->seed, ufrag, length), has_ufrag, &n);
}

struct place { /* an address without what a socket leaves undefined in it */
    uint8_t ip[16];
    uint32_t scope;
    uint16_t port, family;
};

static struct place place_of(const union address *a) {
    struct place k;
    memset(&k, 0, sizeof k);
    k.family = a->any.sa_family;
    if (k.family == AF_INET6) {
        memcpy(k.ip, &a->v6.sin6_addr, 16);
        k.scope = a->v6.sin6_scope_id;
        k.port = a->v6.sin6_port;
    } else {
        memcpy(k.ip, &a->v4.sin_addr, 4);
        k.port = a->v4.sin_port;
    }
    return k;
}

static bool has_address(const void *value, const void *key) {
    struct place k = place_of(&((const struct route *)value)->at.to);
    return memcmp(&k, key, sizeof k) == 0;
}

static uint64_t hash_address(const struct plane *p, const union address *a) {
    struct place k = place_of(a);
    return hash_bytes(p->seed, &k, sizeof k);
}

struct route *route_find(struct plane *p, const union address *a) {
    struct place k = place_of(a);
    return table_find(&p->by_address, hash_bytes(p->seed, &k, sizeof k), has_address, &k);
}

/* ---- credentials */

static struct credential *credential_add(struct plane *p, struct peer *peer, const char *ufrag,
                                         const char *password) {
    size_t length = strlen(ufrag);
    if (length == 0 || length > 256 || strlen(password) > 256 ||
        credential_find(p, ufrag, length) != NULL)
        return NULL;
    struct credential *c = malloc(sizeof *c + length);
    if (c == NULL)
        return NULL;
    c->peer = peer;
    c->length = length;
    memcpy(c->ufrag, ufrag, length);
    mac_init(&c->key, (const uint8_t *)password, strlen(password));
    if (!table_put(&p->by_ufrag, hash_bytes(p->seed, ufrag, length), c)) {
        free(c);
        return NULL;
    }
    return c;
}

static void credential_drop(struct plane *p, struct credential **c) {
    if (*c == NULL)
        return;
    table_remove(&p->by_ufrag, hash_bytes(p->seed, (*c)->ufrag, (*c)->length), *c);
    OPENSSL_cleanse(&(*c)->key, sizeof (*c)->key);
    free(*c);
    *c = NULL;
}

/* ---- peers */

static bool list_room(struct plane *p) {
    if (p->peer_count < p->peer_capacity)
        return true;
    size_t capacity = p->peer_capacity ? 2 * p->peer_capacity : 64;
    struct peer **all = realloc(p->all, capacity * sizeof *all);
    if (all == NULL)
        return false;
    p->all = all;
    p->peer_capacity = capacity;
    return true;
}

uint64_t plane_add_peer(plane *p, const char *local_ufrag, const char *local_password) {
    struct peer *peer = aligned_alloc(64, (sizeof *peer + 63) / 64 * 64);
    if (peer == NULL)
        return 0;
    memset(peer, 0, sizeof *peer);
    pthread_mutex_lock(&p->lock);
    uint64_t handle = p->next_handle++;
    peer->handle = handle;
    peer->shard = (uint32_t)(handle % (uint64_t)p->shard_count);
    peer->checked = now_s();
    if (!list_room(p) ||
        (peer->current = credential_add(p, peer, local_ufrag, local_password)) == NULL ||
        !table_put(&p->by_handle, hash_bytes(p->seed, &handle, sizeof handle), peer)) {
        credential_drop(p, &peer->current);
        free(peer);
        handle = 0;
    } else {
        peer->place = p->peer_count;
        p->all[p->peer_count++] = peer;
    }
    pthread_mutex_unlock(&p->lock);
    return handle;
}

int plane_restart_peer(plane *p, uint64_t handle, const char *local_ufrag,
                       const char *local_password) {
    int result = -1;
    pthread_mutex_lock(&p->lock);
    struct peer *peer = peer_find(p, handle);
    if (peer == NULL)
        goto done;
    struct credential *same = credential_find(p, local_ufrag, strlen(local_ufrag));
    if (same != NULL) { /* an own name again: only the password changes */
        if (same->peer != peer)
            goto done;
        if (same == peer->previous) {
            credential_drop(p, &peer->current);
            peer->current = same;
            peer->previous = NULL;
        }
        mac_init(&same->key, (const uint8_t *)local_password, strlen(local_password));
        result = 0;
        goto done;
    }
    struct credential *fresh = credential_add(p, peer, local_ufrag, local_password);
    if (fresh == NULL)
        goto done;
    /* Restarted again before the last restart was used: only what works now is kept. */
    if (peer->previous != NULL)
        credential_drop(p, &peer->current);
    else
        peer->previous = peer->current;
    peer->current = fresh;
    result = 0;
done:
    pthread_mutex_unlock(&p->lock);
    return result;
}

static void route_drop(struct plane *p, struct route *route) {
    struct peer *peer = route->peer;
    struct route **at = &peer->routes;
    while (*at != route)
        at = &(*at)->next;
    *at = route->next;
    if (peer->nominated == route)
        peer->nominated = NULL;
    if (peer->latest == route)
        peer->latest = NULL;
    table_remove(&p->by_address, hash_address(p, &route->at.to), route);
    free(route);
}

/* Tells the sending half where packets for the peer go now. */
static void aim(struct plane *p, struct peer *peer) {
    const struct route *r = peer->nominated != NULL ? peer->nominated : peer->latest;
    struct shard *s = &p->shards[peer->shard];
    pthread_mutex_lock(&s->lock);
    peer->reachable = r != NULL;
    if (r != NULL) {
        peer->to = r->at;
    }
    pthread_mutex_unlock(&s->lock);
}

void peer_free(struct peer *peer) {
    free_streams(&peer->streams);
    free(peer->more);
    crypt_wipe(&peer->send);
    OPENSSL_cleanse(peer, sizeof *peer);
    free(peer);
}

int plane_remove_peer(plane *p, uint64_t handle) {
    pthread_mutex_lock(&p->lock);
    struct peer *peer = peer_find(p, handle);
    if (peer != NULL) {
        group_leave(p, peer);
        credential_drop(p, &peer->current);
        credential_drop(p, &peer->previous);
        while (peer->routes != NULL)
            route_drop(p, peer->routes);
        table_remove(&p->by_handle, hash_bytes(p->seed, &handle, sizeof handle), peer);
        p->all[peer->place] = p->all[--p->peer_count];
        p->all[peer->place]->place = peer->place;
        peer_free(peer);
    }
    pthread_mutex_unlock(&p->lock);
    return peer != NULL ? 0 : -1;
}

int plane_set_keys(plane *p, uint64_t handle, int profile, const uint8_t *send,
                   const uint8_t *receive, size_t length) {
    struct session_keys out, in;
    int plain = p->options.plain_crypto, result = -1;
    if (profile < PROFILE_GCM_256 || profile > PROFILE_CM_SHA1_80 ||
        length != profile_key_length(profile) + profile_salt_length(profile) ||
        derive_keys(&out, profile, send, plain) != 0 ||
        derive_keys(&in, profile, receive, plain) != 0)
        return -1;
    pthread_mutex_lock(&p->lock);
    struct peer *peer = peer_find(p, handle);
    if (peer != NULL) {
        struct shard *s = &p->shards[peer->shard];
        free_streams(&peer->streams);
        peer->receive = in;
        peer->can_receive = true;
        pthread_mutex_lock(&s->lock);
        peer->profile = (uint8_t)profile;
        peer->send_rtcp = out.rtcp;
        peer->keyed = key_crypt(&peer->send, profile, &out.rtp, plain) == 0;
        result = peer->keyed ? 0 : -1;
        pthread_mutex_unlock(&s->lock);
    }
    pthread_mutex_unlock(&p->lock);
    OPENSSL_cleanse(&out, sizeof out);
    OPENSSL_cleanse(&in, sizeof in);
    return result;
}

size_t plane_peer_bytes(void) { return (sizeof(struct peer) + 63) / 64 * 64; }

/* ---- what checks change */

/* Somebody else's address changes hands only when its owner has fallen silent there: a peer
 * cannot take over another's by forging the source of a check. */
static struct route *own(struct plane *p, struct peer *peer, const struct endpoint *from,
                         double now) {
    struct route *route = route_find(p, &from->to);
    if (route != NULL && route->peer != peer) {
        if (now - route->checked < p->options.consent_timeout_s / 2)
            return NULL;
        struct peer *owner = route->peer;
        route_drop(p, route);
        aim(p, owner);
        route = NULL;
    }
    if (route == NULL) {
        route = calloc(1, sizeof *route);
        if (route == NULL)
            return NULL;
        route->peer = peer;
        route->at = *from;
        if (!table_put(&p->by_address, hash_address(p, &from->to), route)) {
            free(route);
            return NULL;
        }
    } else { /* to the front of the list again */
        struct route **at = &peer->routes;
        while (*at != route)
            at = &(*at)->next;
        *at = route->next;
    }
    route->at = *from;
    route->checked = now;
    route->next = peer->routes;
    peer->routes = route;
    peer->latest = route;
    int count = 0;
    struct route *oldest = NULL;
    for (struct route *r = peer->routes; r != NULL; r = r->next, count++)
        if (r != peer->nominated)
            oldest = r;
    if (count > MAX_ROUTES)
        route_drop(p, oldest);
    return route;
}

bool peer_checked(struct plane *p, struct peer *peer, struct credential *used,
                  const struct endpoint *from, bool nominate, double now, bool *changed) {
    *changed = false;
    if (used == peer->current)
        credential_drop(p, &peer->previous);
    peer->checked = now;
    peer->expired = false;
    struct route *before = peer->nominated != NULL ? peer->nominated : peer->latest;
    struct endpoint was;
    memset(&was, 0, sizeof was);
    if (before != NULL)
        was = before->at;
    struct route *route = own(p, peer, from, now);
    if (route == NULL)
        return false;
    if (nominate && peer->nominated != route) {
        peer->nominated = route;
        *changed = true;
    }
    struct route *after = peer->nominated != NULL ? peer->nominated : peer->latest;
    if (after != before || memcmp(&after->at, &was, sizeof was) != 0)
        aim(p, peer);
    return true;
}

void peers_sweep(struct plane *p, double now) {
    enum { SLICE = 1024 }; /* so that nobody waits for the lock while 100,000 are looked at */
    size_t at = 0, count;
    do {
        pthread_mutex_lock(&p->lock);
        count = p->peer_count;
        for (size_t end = at + SLICE; at < end && at < count; at++) {
            struct peer *peer = p->all[at];
            if (peer->expired || now - peer->checked <= p->options.consent_timeout_s)
                continue;
            plane_event event = {.peer = peer->handle, .now = now, .kind = EVENT_EXPIRED};
            /* where there is no room for the event, the next sweep tries again */
            peer->expired = events_push(&p->events, &event, NULL);
        }
        pthread_mutex_unlock(&p->lock);
    } while (at < count);
}

bool take_nack_token(const plane_options *o, struct peer *peer, double now) {
    peer->nack_tokens += (now - peer->nack_at) * o->retransmit_rate;
    if (peer->nack_tokens > o->retransmit_burst)
        peer->nack_tokens = o->retransmit_burst;
    peer->nack_at = now;
    if (peer->nack_tokens < 1)
        return false;
    peer->nack_tokens -= 1;
    return true;
}
