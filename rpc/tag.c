/* The seam to gRPC's C core: batches, bytes, metadata. */
#include "rpc/rpc_priv.h"

#include <grpc/byte_buffer_reader.h>
#include <grpc/slice.h>

void ang_tag_start(grpc_call *call, const grpc_op *ops, size_t n, struct ang_tag *tag) {
    ANG_DIAG(tag->magic == ANG_TAG_MAGIC);
    ANG_TAG_GIVE(tag);
    AZ(grpc_call_start_batch(call, ops, n, tag, NULL));
}

bool ang_address_ok(const char *address) {
    const char *colon = strrchr(address, ':');
    uint64_t port;

    if (strncmp(address, "unix:", 5) == 0)
        return (address[5] != '\0');
    return (colon != NULL && colon != address && ang_slice_to_u64(ang_slice_str(colon + 1), &port) && port <= 65535);
}

grpc_byte_buffer *ang_bytes_new(const struct ang_slice *parts, size_t n) {
    size_t total = 0;
    for (size_t i = 0; i < n; i++)
        total += parts[i].n;
    grpc_slice s = grpc_slice_malloc(total);
    uint8_t *p = GRPC_SLICE_START_PTR(s);
    for (size_t i = 0; i < n; i++) {
        if (parts[i].n != 0)
            memcpy(p, parts[i].p, parts[i].n);
        p += parts[i].n;
    }
    grpc_byte_buffer *bb = grpc_raw_byte_buffer_create(&s, 1);
    grpc_slice_unref(s);
    return (bb);
}

grpc_byte_buffer *ang_bytes_share(struct ang_slice bytes, void (*done)(void *arg), void *arg) {
    void *p;
    memcpy(&p, &bytes.p, sizeof(p)); /* gRPC only reads it */
    grpc_slice s = grpc_slice_new_with_user_data(p, bytes.n, done, arg);
    grpc_byte_buffer *bb = grpc_raw_byte_buffer_create(&s, 1);
    grpc_slice_unref(s);
    return (bb);
}

struct ang_slice ang_bytes_view(grpc_byte_buffer *bb, grpc_slice *mem) {
    grpc_byte_buffer_reader r;
    grpc_slice *first;
    struct ang_slice view = ANG_SLICE_NONE;

    *mem = grpc_empty_slice();
    AN(grpc_byte_buffer_reader_init(&r, bb));
    if (grpc_byte_buffer_reader_peek(&r, &first)) {
        if (GRPC_SLICE_LENGTH(*first) == grpc_byte_buffer_length(bb)) {
            view = ang_slice_of_grpc(first);
        } else {
            grpc_byte_buffer_reader_destroy(&r);
            AN(grpc_byte_buffer_reader_init(&r, bb));
            *mem = grpc_byte_buffer_reader_readall(&r);
            view = ang_slice_of_grpc(mem);
        }
    }
    grpc_byte_buffer_reader_destroy(&r);
    return (view);
}

bool ang_md_new(const struct ang_meta *m, grpc_metadata *ret_md) {
    grpc_slice key = grpc_slice_from_copied_string(m->key);
    grpc_slice value = grpc_slice_from_copied_buffer((const char *)m->value.p, m->value.n);
    /* An illegal entry would make gRPC refuse the whole batch. */
    if (!grpc_header_key_is_legal(key) || (!grpc_is_binary_header(key) && !grpc_header_nonbin_value_is_legal(value))) {
        grpc_slice_unref(key);
        grpc_slice_unref(value);
        return (false);
    }
    *ret_md = (grpc_metadata){.key = key, .value = value};
    return (true);
}

void ang_md_free(grpc_metadata *md, size_t n) {
    for (size_t i = 0; i < n; i++) {
        grpc_slice_unref(md[i].key);
        grpc_slice_unref(md[i].value);
    }
}
