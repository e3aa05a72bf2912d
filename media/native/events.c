/* A bounded ring of bytes from the receiving threads to the event loop. When it is full, what
 * comes is counted and dropped: a loop that is behind must not make the process grow. */
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "internal.h"

bool events_init(struct events *e, size_t capacity) {
    memset(e, 0, sizeof *e);
    pthread_mutex_init(&e->lock, NULL);
    e->fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    e->capacity = (capacity + 7) / 8 * 8;
    e->ring = malloc(e->capacity);
    return e->fd >= 0 && e->ring != NULL;
}

void events_free(struct events *e) {
    if (e->fd >= 0)
        close(e->fd);
    pthread_mutex_destroy(&e->lock);
    free(e->ring);
}

static void copy_in(struct events *e, const void *data, size_t length) {
    size_t at = (e->head + e->used) % e->capacity;
    size_t first = length < e->capacity - at ? length : e->capacity - at;
    memcpy(e->ring + at, data, first);
    memcpy(e->ring, (const uint8_t *)data + first, length - first);
    e->used += length;
}

static void copy_out(const struct events *e, void *out, size_t length) {
    size_t first = length < e->capacity - e->head ? length : e->capacity - e->head;
    memcpy(out, e->ring + e->head, first);
    memcpy((uint8_t *)out + first, e->ring, length - first);
}

static size_t padded(size_t length) { return (length + 7) / 8 * 8; }

bool events_push(struct events *e, const plane_event *event, const void *data) {
    static const uint8_t zeros[8];
    size_t size = sizeof *event + padded(event->length);
    pthread_mutex_lock(&e->lock);
    bool room = e->capacity - e->used >= size;
    if (room) {
        bool was_empty = e->used == 0;
        copy_in(e, event, sizeof *event);
        if (event->length > 0) {
            copy_in(e, data, event->length);
            copy_in(e, zeros, padded(event->length) - event->length);
        }
        if (was_empty)
            eventfd_write(e->fd, 1);
    }
    pthread_mutex_unlock(&e->lock);
    return room;
}

size_t events_drain(struct events *e, uint8_t *out, size_t capacity) {
    size_t done = 0;
    pthread_mutex_lock(&e->lock);
    while (e->used > 0) {
        plane_event event;
        copy_out(e, &event, sizeof event);
        size_t size = sizeof event + padded(event.length);
        if (size > capacity - done)
            break;
        copy_out(e, out + done, size);
        e->head = (e->head + size) % e->capacity;
        e->used -= size;
        done += size;
    }
    if (e->used == 0) { /* else the descriptor stays readable */
        eventfd_t ignored;
        eventfd_read(e->fd, &ignored);
    }
    pthread_mutex_unlock(&e->lock);
    return done;
}
