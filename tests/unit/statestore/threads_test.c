/* Readers and statistics beside two writers, pruning, resets: consistent answers, and nothing for the thread sanitizer. */
#include <pthread.h>

#include "scratch.h"
#include "tests/unit/rounds.h"

#define ROOTS  50
#define WRITES ROUNDS(900, 450)

struct writer {
    struct ang_store *st;
    struct ang_store_part *part;
    bool resets;
};

static _Atomic bool stop;
static struct ang_store *store;
static struct ang_store_part *parts[2]; /* the second one is reset now and then */

static void *write_books(void *arg) {
    const struct writer *w = arg;
    struct ang_store_batch *b = ang_store_batch_new(w->st);
    uint32_t sequence = 0;

    for (uint32_t i = 0; i < WRITES; i++) {
        if (w->resets && i % 400 == 399) {
            AZ(ang_store_part_reset(w->part));
            sequence = 0;
        }
        for (uint32_t r = 0; r < ROOTS; r++) {
            const struct ang_root root = root_of(r, "");
            const struct ang_store_done done = {sequence, 1, i};
            put_book(b, w->part, &root, sequence, 1, "some bytes of a book", "c");
            ang_store_put_done(b, w->part, &root, text("id"), &done);
        }
        sequence++;
        ang_store_put_position(b, w->part, "log", sequence, ANG_SLICE_NONE);
        AZ(ang_store_write(b));
        ang_store_batch_clear(b);
        if (i % 100 == 0)
            AZ(ang_store_prune(w->part, 0, 100));
    }
    ang_store_batch_free(b);
    return (NULL);
}

static bool check_book(void *arg, const struct ang_store_book *book) {
    uint32_t *expected = arg;

    AN(book->first == *expected);
    (*expected)++;
    return (*expected % 100 != 0);
}

static bool count_root(void *arg, const struct ang_root *root) {
    (*(unsigned *)arg)++;
    return (true);
}

static void *read_books(void *arg) {
    uint32_t seen = 0;

    for (uint32_t i = 0; !stop; i++) {
        const struct ang_root root = root_of(i % ROOTS, "");
        struct ang_store_part *part = parts[i % 2];
        struct ang_store_stats stats;
        struct ang_store_done done;
        uint32_t next, from;
        int64_t position;
        unsigned n = 0;
        bool found;

        AZ(ang_store_position(part, "log", &position, NULL));
        AZ(ang_store_next_sequence(part, &root, &next));
        if (part == parts[0]) { /* never reset: what was seen stays */
            AN((int64_t)next >= position);
            if (i % (2 * ROOTS) == 0) {
                AN(next >= seen);
                seen = next;
            }
        }
        from = next > 20 ? next - 20 : 0;
        if (part == parts[0])
            AZ(ang_store_books(part, &root, from, check_book, &from));
        AZ(ang_store_done(part, &root, text("id"), &done, &found));
        if (i % 50 == 0) {
            AZ(ang_store_by_correlation(part, text("nobody"), NULL, count_root, &n));
            AZ(ang_store_roots(part, count_root, &n));
            AN(n == 0 || n == ROOTS);
            ang_store_stats(store, &stats);
        }
    }
    return (NULL);
}

static void test_readers_beside_writers(void **state) {
    char *path = scratch_new();
    pthread_t readers[3], writers[2];
    struct writer w[2];

    OK(ang_store_open(path, MEMORY, &store));
    for (int i = 0; i < 2; i++) {
        parts[i] = open_part(store, "order", i);
        w[i] = (struct writer){store, parts[i], i == 1};
    }
    for (int i = 0; i < 3; i++)
        ANG_PT(pthread_create(&readers[i], NULL, read_books, NULL));
    for (int i = 0; i < 2; i++)
        ANG_PT(pthread_create(&writers[i], NULL, write_books, &w[i]));
    for (int i = 0; i < 2; i++)
        ANG_PT(pthread_join(writers[i], NULL));
    stop = true;
    for (int i = 0; i < 3; i++)
        ANG_PT(pthread_join(readers[i], NULL));
    for (int i = 0; i < 2; i++)
        ang_store_part_close(parts[i]);
    ang_store_close(store);
    scratch_free(path);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_readers_beside_writers)};
    return (cmocka_run_group_tests(tests, NULL, NULL));
}
