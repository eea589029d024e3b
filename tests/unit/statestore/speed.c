/* What the hot path costs: 100,000 roots with one to three books, batches of 64 commands. */
#include <stdio.h>
#include <stdlib.h>

#include "base/base.h"
#include "statestore/statestore.h"

#define ROOTS 100000
#define BATCH 64

static struct ang_root root_of(uint32_t n) {
    struct ang_root root = {.edition = ANG_SLICE_NONE};
    uint64_t x = (n + 1) * 0x9e3779b97f4a7c15u;

    ang_put_be64(root.id, x ^ x >> 29);
    ang_put_be64(root.id + 8, x * 0xbf58476d1ce4e5b9u);
    return (root);
}

static void die(struct ang_err *er) {
    if (er != NULL) {
        (void)fprintf(stderr, "%s\n", er->msg);
        exit(1);
    }
}

static bool count(void *arg, const struct ang_store_book *book) {
    *(uint64_t *)arg += book->book.n;
    return (true);
}

static unsigned write_all(struct ang_store *st, struct ang_store_part *part) {
    struct ang_store_batch *b = ang_store_batch_new(st);
    uint8_t bytes[300];
    char id[40], correlation[40];
    unsigned n = 0;

    for (uint32_t book = 0; book < 3; book++) {
        for (uint32_t i = 0; i < ROOTS; i++) {
            if (book > i % 3)
                continue;
            const struct ang_root root = root_of(i);
            const struct ang_store_done done = {book, 1, n};
            for (size_t j = 0; j < sizeof(bytes); j++) /* a third of it compresses */
                bytes[j] = j % 3 == 0 ? 'x' : (uint8_t)((n * 2654435761u + j * 40503u) >> 8);
            (void)snprintf(id, sizeof(id), "01234567-89ab-cdef-0123-%012x", n);
            (void)snprintf(correlation, sizeof(correlation), "76543210-89ab-cdef-0123-%012x", n);
            const struct ang_store_book row = {book, 1, n, ang_slice_of(bytes, sizeof(bytes))};
            ang_store_put_book(b, part, &root, &row, ang_slice_str(correlation));
            ang_store_put_done(b, part, &root, ang_slice_str(id), &done);
            if (++n % BATCH == 0) {
                ang_store_put_position(b, part, "events", n, ANG_SLICE_NONE);
                ang_store_put_position(b, part, "commands", n, ANG_SLICE_NONE);
                die(ang_store_write(b));
                ang_store_batch_clear(b);
            }
        }
    }
    die(ang_store_write(b));
    ang_store_batch_free(b);
    return (n);
}

static void read_all(struct ang_store_part *part, const char *what) {
    struct ang_store_done done;
    uint64_t bytes = 0;
    uint32_t next;
    int64_t t[4];
    bool found;

    t[0] = ang_now_us();
    for (uint32_t i = 0; i < ROOTS; i++) {
        const struct ang_root root = root_of(i * 7919u % ROOTS);
        die(ang_store_next_sequence(part, &root, &next));
    }
    t[1] = ang_now_us();
    for (uint32_t i = 0; i < ROOTS; i++) {
        const struct ang_root root = root_of(i * 7919u % ROOTS);
        die(ang_store_done(part, &root, ang_slice_str("a command that is new"), &done, &found));
    }
    t[2] = ang_now_us();
    for (uint32_t i = 0; i < ROOTS; i++) {
        const struct ang_root root = root_of(i * 7919u % ROOTS);
        die(ang_store_books(part, &root, 0, count, &bytes));
    }
    t[3] = ang_now_us();
    printf("%-18s next_sequence %.2f us, done of a new command %.2f us, history of a root %.2f us\n", what,
           (double)(t[1] - t[0]) / ROOTS, (double)(t[2] - t[1]) / ROOTS, (double)(t[3] - t[2]) / ROOTS);
}

int main(int argc, char **argv) {
    struct ang_store *st;
    struct ang_store_part *part;
    struct ang_store_stats stats;
    int64_t start;
    unsigned n;

    if (argc < 2) {
        (void)fprintf(stderr, "usage: %s FOLDER [MEMORY IN MiB]\n", argv[0]);
        return (2);
    }
    die(ang_store_open(argv[1], (argc > 2 ? atoll(argv[2]) : 128) << 20, &st));
    die(ang_store_part_open(st, "speed", 0, "speed", INT64_MAX, &part));
    start = ang_now_us();
    n = write_all(st, part);
    printf("write              %.2f us per command, batches of %d\n", (double)(ang_now_us() - start) / n, BATCH);
    read_all(part, "after the writes");
    read_all(part, "warm");
    ang_store_stats(st, &stats);
    printf("cache %llu KiB, memtables %llu KiB, disk %llu KiB\n", (unsigned long long)stats.cache_bytes >> 10,
           (unsigned long long)stats.memtable_bytes >> 10, (unsigned long long)stats.disk_bytes >> 10);
    ang_store_part_close(part);
    ang_store_close(st);
    return (0);
}
