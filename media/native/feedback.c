/* What members of a group say of it: receiver reports are summed up, NACKs are answered. */
#include "internal.h"

enum { RR = 201, SDES = 202, RTPFB = 205, GENERIC_NACK = 1 };

static bool well_formed(const uint8_t *d, size_t length) {
    for (size_t at = 0; at < length;) {
        if (length - at < 4 || d[at] >> 6 != 2)
            return false;
        size_t size = 4 + 4 * (size_t)read_16(d + at + 2), count = d[at] & 31;
        if (size > length - at || (d[at + 1] == RR && size < 8 + 24 * count) ||
            (d[at + 1] == RTPFB && count == GENERIC_NACK && size < 12))
            return false;
        at += size;
    }
    return true;
}

static bool retransmit(struct plane *p, struct peer *peer, uint32_t ssrc, uint16_t sequence,
                       double now) {
    /* What was shed is asked for by everybody at once: to answer would shed the next one too. */
    if (now - atomic_load(&p->shed_at) < 1)
        return false;
    struct packet *packet = group_history(peer->group, peer, ssrc, sequence,
                                          now - p->options.history_s);
    if (packet == NULL)
        return false;
    struct shard *s = &p->shards[peer->shard];
    uint8_t out[MAX_DATAGRAM];
    pthread_mutex_lock(&s->lock);
    size_t length = member_packet(peer, packet, &p->scratch, p->options.plain_crypto, out);
    struct endpoint to = peer->to;
    pthread_mutex_unlock(&s->lock);
    return length > 0 && send_one(p, &to, out, length);
}

static void answer(struct plane *p, struct peer *peer, uint32_t ssrc, uint16_t sequence,
                   double now) {
    if (take_nack_token(&p->options, peer, now) && retransmit(p, peer, ssrc, sequence, now))
        COUNT(p, retransmitted, 1);
    else
        COUNT(p, retransmissions_refused, 1);
}

bool take_feedback(struct plane *p, struct peer *peer, const uint8_t *d, size_t length,
                   double now) {
    bool other = false;
    if (!well_formed(d, length)) {
        COUNT(p, rtp_malformed, 1);
        return false;
    }
    for (size_t at = 0, size; at < length; at += size) {
        uint8_t count = d[at] & 31, kind = d[at + 1];
        size = 4 + 4 * (size_t)read_16(d + at + 2);
        if (kind == RR) {
            for (uint8_t i = 0; i < count; i++)
                group_report(p, peer->group, d + at + 8 + 24 * i, now);
        } else if (kind == RTPFB && count == GENERIC_NACK) {
            uint32_t ssrc = read_32(d + at + 8);
            for (size_t entry = at + 12; entry < at + size; entry += 4) {
                uint16_t first = read_16(d + entry), mask = read_16(d + entry + 2);
                answer(p, peer, ssrc, first, now);
                for (int bit = 0; bit < 16; bit++)
                    if (mask >> bit & 1)
                        answer(p, peer, ssrc, (uint16_t)(first + 1 + bit), now);
            }
        } else if (kind != SDES) {
            other = true;
        }
    }
    return other;
}
