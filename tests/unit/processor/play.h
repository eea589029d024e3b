/* A lane without threads, one partition and one root, and books by hand: enough for what happens between an answer and a batch. */
#ifndef ANG_TEST_PROCESSOR_PLAY_H
#define ANG_TEST_PROCESSOR_PLAY_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "processor/lane_priv.h"

#define OK(call)                                                                                                       \
    do {                                                                                                               \
        struct ang_err *er_ = (call);                                                                                  \
        if (er_ != NULL)                                                                                               \
            fail_msg("%s:%d: %s", __FILE__, __LINE__, er_->msg);                                                       \
    } while (0)

#define NO_NUM UINT32_MAX

struct play {
    struct ang_settings set;
    struct ang_set_business business;
    struct ang_topic commands, events, snapshots;
    struct ang_domain domain;
    struct lane lane;
    struct part part;
    struct root root;
    struct ang_rec rec;
    struct work work;
    struct ang_buf command, answer;
};

static const uint8_t play_root[16] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16};

static inline void play_cover(struct ang_buf *b, const char *domain, const uint8_t *root, const char *correlation) {
    struct ang_buf uuid = {NULL, 0, 0}, cover = {NULL, 0, 0};

    ang_wire_put_bytes(&uuid, 1, ang_slice_of(root, 16));
    ang_wire_put_bytes(&cover, 1, ang_buf_slice(&uuid));
    ang_wire_put_str(&cover, 2, domain);
    ang_wire_put_str(&cover, 3, correlation);
    ang_wire_put_bytes(b, 1, ang_buf_slice(&cover));
    ang_buf_fini(&uuid);
    ang_buf_fini(&cover);
}

/* EventBook.pages += {num, event of n bytes}; num NO_NUM: none */
static inline void play_page(struct ang_buf *book, uint32_t num, size_t n) {
    struct ang_buf page = {NULL, 0, 0};
    uint8_t *bytes = ang_calloc(n + 1, 1);

    if (num != NO_NUM)
        ang_wire_put_uint(&page, 1, num);
    ang_wire_put_any(&page, 4, ang_slice_str("type.googleapis.com/test.Done"), ang_slice_of(bytes, n));
    ang_wire_put_bytes(book, 3, ang_buf_slice(&page));
    ang_buf_fini(&page);
    free(bytes);
}

static inline void play_snapshot(struct ang_buf *book) {
    struct ang_buf snap = {NULL, 0, 0};

    ang_wire_put_any(&snap, 3, ang_slice_str("type.googleapis.com/test.State"), ang_slice_str("state"));
    ang_wire_put_bytes(book, 2, ang_buf_slice(&snap));
    ang_buf_fini(&snap);
}

/* next: the root's next sequence; record_max: what the events topic takes */
static inline void play_open(struct play *p, uint32_t next, int64_t record_max) {
    memset(p, 0, sizeof *p);
    p->set.limits.message = 1 << 20;
    p->business.send_snapshots = true;
    p->commands = (struct ang_topic){.magic = ANG_TOPIC_MAGIC, .name = "p.order.commands", .max_message = record_max};
    p->events = (struct ang_topic){.magic = ANG_TOPIC_MAGIC, .name = "p.order.events", .max_message = record_max};
    p->snapshots = (struct ang_topic){.magic = ANG_TOPIC_MAGIC, .name = "p.order.snapshots", .max_message = record_max};
    p->domain = (struct ang_domain){.magic = ANG_DOMAIN_MAGIC,
                                    .name = "order",
                                    .group = "p.order.aggregate",
                                    .commands = &p->commands,
                                    .events = &p->events,
                                    .snapshots = &p->snapshots,
                                    .business = &p->business,
                                    .partitions = 4};
    p->lane.magic = LANE_MAGIC;
    p->lane.set = &p->set;
    p->lane.domain = &p->domain;
    TAILQ_INIT(&p->lane.done);
    STAILQ_INIT(&p->lane.spare_effects);
    TAILQ_INIT(&p->lane.spare_works);
    p->part.magic = PART_MAGIC;
    p->part.lane = &p->lane;
    p->part.no = 2;
    p->root.magic = ROOT_MAGIC;
    p->root.part = &p->part;
    memcpy(p->root.id.id, play_root, 16);
    TAILQ_INIT(&p->root.queue);
    p->root.loaded = true;
    p->root.next = next;
    p->root.running = &p->work;
    p->rec = (struct ang_rec){.magic = ANG_REC_MAGIC, .topic = &p->commands, .partition = 2, .offset = 77};
    p->work.magic = WORK_MAGIC;
    p->work.part = &p->part;
    p->work.root = &p->root;
    p->work.rec = &p->rec;
    p->work.offset = 77;
    p->work.command_id = ang_slice_str("the-id");
    STAILQ_INIT(&p->work.effects);
    TAILQ_INIT(&p->work.copies);
    memcpy(p->work.root_id.id, play_root, 16);
    play_cover(&p->command, "order", play_root, "corr");
    OK(ang_wire_parse_command_book(ang_buf_slice(&p->command), &p->work.book));
}

static inline void play_answer(struct play *p) {
    aggregate_answered(&p->work, ang_buf_slice(&p->answer), false);
    assert_true(p->work.finished);
    assert_ptr_equal(TAILQ_FIRST(&p->lane.done), &p->work);
}

static inline void play_close(struct play *p) {
    struct effect *e;

    while ((e = STAILQ_FIRST(&p->work.effects)) != NULL) {
        STAILQ_REMOVE_HEAD(&p->work.effects, link);
        effect_free(&p->lane, e);
    }
    spares_free(&p->lane);
    ang_status_free(&p->work.status);
    ang_blob_unref(p->work.response);
    ang_buf_fini(&p->root.pages);
    ang_buf_fini(&p->root.snapshot);
    ang_buf_fini(&p->root.older);
    ang_buf_fini(&p->lane.scratch);
    ang_buf_fini(&p->lane.scratch2);
    ang_buf_fini(&p->command);
    ang_buf_fini(&p->answer);
}

static inline struct ang_slice play_hdr(const struct effect *e, const char *name) {
    for (size_t i = 0; i < e->out.n_hdrs; i++)
        if (strcmp(e->out.hdrs[i].name, name) == 0)
            return (e->out.hdrs[i].value);
    return (ANG_SLICE_NONE);
}

#endif
