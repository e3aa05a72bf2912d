/* Linear probing with backward-shift removal: no tombstones, so that a table through which
 * millions of peers have passed is as quick as a new one. */
#include <stdlib.h>

#include "internal.h"

/* FNV-1a from a random seed, then mixed: what is hashed (ufrags, source addresses) becomes
 * known to a table only after a check with the right password. */
uint64_t hash_bytes(uint64_t seed, const void *data, size_t length) {
    const uint8_t *p = data;
    uint64_t h = 0xcbf29ce484222325ull ^ seed;
    for (size_t i = 0; i < length; i++)
        h = (h ^ p[i]) * 0x100000001b3ull;
    h ^= h >> 32;
    h *= 0xd6e8feb86659fd93ull;
    return h ^ h >> 32;
}

void *table_find(const struct table *t, uint64_t hash, table_match *match, const void *key) {
    if (t->slots == NULL)
        return NULL;
    for (size_t i = hash & t->mask; t->slots[i].value != NULL; i = (i + 1) & t->mask)
        if (t->slots[i].hash == hash && match(t->slots[i].value, key))
            return t->slots[i].value;
    return NULL;
}

static void place(struct table *t, uint64_t hash, void *value) {
    size_t i = hash & t->mask;
    while (t->slots[i].value != NULL)
        i = (i + 1) & t->mask;
    t->slots[i].hash = hash;
    t->slots[i].value = value;
}

static bool resize(struct table *t, size_t size) {
    struct table old = *t;
    t->slots = calloc(size, sizeof *t->slots);
    if (t->slots == NULL) {
        *t = old;
        return false;
    }
    t->mask = size - 1;
    for (size_t i = 0; old.slots != NULL && i <= old.mask; i++)
        if (old.slots[i].value != NULL)
            place(t, old.slots[i].hash, old.slots[i].value);
    free(old.slots);
    return true;
}

bool table_put(struct table *t, uint64_t hash, void *value) {
    if (t->slots == NULL ? !resize(t, 64)
                         : t->count >= (t->mask + 1) / 2 && !resize(t, 2 * (t->mask + 1)))
        return false;
    place(t, hash, value);
    t->count++;
    return true;
}

void table_remove(struct table *t, uint64_t hash, const void *value) {
    if (t->slots == NULL)
        return;
    size_t hole = hash & t->mask;
    while (t->slots[hole].value != value) {
        if (t->slots[hole].value == NULL)
            return;
        hole = (hole + 1) & t->mask;
    }
    for (size_t i = (hole + 1) & t->mask; t->slots[i].value != NULL; i = (i + 1) & t->mask) {
        size_t home = t->slots[i].hash & t->mask;
        if (((i - home) & t->mask) >= ((i - hole) & t->mask)) {
            t->slots[hole] = t->slots[i];
            hole = i;
        }
    }
    t->slots[hole].value = NULL;
    t->count--;
}

void table_free(struct table *t) {
    free(t->slots);
    t->slots = NULL;
    t->count = t->mask = 0;
}
