/* The tables of shapes.c say what the .proto files say. */
#include "test.h"

#include "proto/walk_priv.h"

#include "angzarr/business.pb-c.h"
#include "angzarr/ext/event_tail.pb-c.h"
#include "angzarr/gateway.pb-c.h"
#include "angzarr/query.pb-c.h"
#include "angzarr/types.pb-c.h"

static enum kind kind_of(const ProtobufCFieldDescriptor *fd) {
    switch ((int)fd->type) {
    case PROTOBUF_C_TYPE_UINT32:
        return (K_UINT32);
    case PROTOBUF_C_TYPE_INT32:
    case PROTOBUF_C_TYPE_ENUM:
        return (K_INT32);
    case PROTOBUF_C_TYPE_INT64:
        return (K_INT64);
    case PROTOBUF_C_TYPE_BOOL:
        return (K_BOOL);
    case PROTOBUF_C_TYPE_STRING:
        return (K_STRING);
    case PROTOBUF_C_TYPE_BYTES:
        return (K_BYTES);
    case PROTOBUF_C_TYPE_MESSAGE:
        return (K_MESSAGE);
    }
    fail_msg("%s: a type that the tables do not know", fd->name);
    return (K_BYTES);
}

/* Members of a oneof share the place where its case is kept. */
static uint32_t group_of(const ProtobufCMessageDescriptor *md, const ProtobufCFieldDescriptor *fd) {
    uint32_t bits = 0, n = 0;

    if ((fd->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) == 0)
        return (0);
    for (unsigned i = 0; i < md->n_fields; i++)
        if ((md->fields[i].flags & PROTOBUF_C_FIELD_FLAG_ONEOF) != 0 &&
            md->fields[i].quantifier_offset == fd->quantifier_offset) {
            bits |= 1u << md->fields[i].id;
            n++;
        }
    return (n > 1 ? bits : 0);
}

static void compare(const struct shape *shape, const ProtobufCMessageDescriptor *md) {
    unsigned rows = 0;

    assert_string_equal(shape->name, md->short_name);
    for (uint32_t n = 0; n < shape->n_rows; n++)
        rows += shape->rows[n].name != NULL;
    assert_int_equal(rows, md->n_fields);
    assert_true(shape->n_rows <= 32); /* a walk keeps what it has seen in 32 bits */
    for (unsigned i = 0; i < md->n_fields; i++) {
        const ProtobufCFieldDescriptor *fd = &md->fields[i];
        const struct row *row;

        assert_true(fd->id < shape->n_rows);
        row = &shape->rows[fd->id];
        assert_string_equal(row->name, fd->name);
        assert_int_equal(row->kind, kind_of(fd));
        assert_int_equal(row->repeated, fd->label == PROTOBUF_C_LABEL_REPEATED);
        assert_int_equal(row->group, group_of(md, fd));
        if (row->kind == K_MESSAGE)
            compare(row->sub, fd->descriptor);
    }
}

static void the_tables_are_the_schema(void **state) {
    compare(&shape_event_book, &angzarr__event_book__descriptor);
    compare(&shape_command_book, &angzarr__command_book__descriptor);
    compare(&shape_sync_command, &angzarr__sync_command_book__descriptor);
    compare(&shape_stream_count, &angzarr__execute_stream_count_request__descriptor);
    compare(&shape_stream_time, &angzarr__execute_stream_time_request__descriptor);
    compare(&shape_business_response, &angzarr__business_response__descriptor);
    compare(&shape_query, &angzarr__query__descriptor);
    compare(&shape_follow, &angzarr__ext__follow_request__descriptor);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(the_tables_are_the_schema)};
    return (cmocka_run_group_tests(tests, NULL, NULL));
}
