/* How far each aggregate was printed. */
#include "tools/seen.h"

#include <stdlib.h>

struct aggregate {
    struct ang_node node;
    uint32_t next;
    size_t n;
    uint8_t key[]; /* what tells it from others, as key_of writes it */
};

/* None of the three has a NUL or is as long as the root: no two aggregates have the same key. */
static void key_of(const struct ang_wire_cover *c, struct ang_buf *ret) {
    ang_buf_add_slice(ret, c->domain);
    ang_buf_add_u8(ret, '\0');
    ang_buf_add_slice(ret, c->edition);
    ang_buf_add_u8(ret, '\0');
    ang_buf_add_slice(ret, c->root);
}

static struct aggregate *find(const struct tool_seen *s, struct ang_slice key, uint64_t hash) {
    struct ang_node *node;

    for (node = ang_table_first(&s->table, hash); node != NULL; node = ang_table_more(node->next, hash)) {
        struct aggregate *a = ANG_CONTAINER(node, struct aggregate, node);

        if (ang_slice_eq(ang_slice_of(a->key, a->n), key))
            return (a);
    }
    return (NULL);
}

uint32_t *tool_seen_next(struct tool_seen *s, const struct ang_wire_cover *cover) {
    struct ang_buf key = {NULL, 0, 0};
    struct aggregate *a;
    uint64_t hash;

    key_of(cover, &key);
    hash = ang_hash(0, key.p, key.n);
    a = find(s, ang_buf_slice(&key), hash);
    if (a == NULL) {
        a = ang_calloc(1, sizeof *a + key.n);
        a->n = key.n;
        memcpy(a->key, key.p, key.n);
        ang_table_add(&s->table, &a->node, hash);
    }
    ang_buf_fini(&key);
    return (&a->next);
}

void tool_seen_fini(struct tool_seen *s) {
    for (size_t i = 0; s->table.buckets != NULL && i <= s->table.mask; i++)
        while (s->table.buckets[i] != NULL) {
            struct aggregate *a = ANG_CONTAINER(s->table.buckets[i], struct aggregate, node);

            s->table.buckets[i] = a->node.next;
            free(a);
        }
    ang_table_fini(&s->table);
}
