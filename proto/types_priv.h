/* What a linked pool is made of; json_*.c converts by it.
 *
 *     ang_types --messages--> ang_type --fields--> ang_field --type------> ang_type
 *               --services--> ang_service                    --enumeration-> ang_enum
 *
 * Everything lies in the pool's arena.  While the pool is filled, the files are protobuf-c structs in an arena of their
 * own, which linking drops. */
#ifndef ANG_TYPES_PRIV_H
#define ANG_TYPES_PRIV_H

#include "base/arena.h"
#include "google/protobuf/descriptor.pb-c.h"
#include "proto/types.h"

/* The values of FieldDescriptorProto.Type. */
enum ang_kind {
    KIND_DOUBLE = 1,
    KIND_FLOAT,
    KIND_INT64,
    KIND_UINT64,
    KIND_INT32,
    KIND_FIXED64,
    KIND_FIXED32,
    KIND_BOOL,
    KIND_STRING,
    KIND_GROUP,
    KIND_MESSAGE,
    KIND_BYTES,
    KIND_UINT32,
    KIND_ENUM,
    KIND_SFIXED32,
    KIND_SFIXED64,
    KIND_SINT32,
    KIND_SINT64
};

/* Messages with a JSON form of their own, found by their full names.  Their fields have fixed numbers, so the forms do
 * not depend on what a set says about them. */
enum ang_well_known {
    WK_NONE,
    WK_ANY,
    WK_TIMESTAMP,
    WK_DURATION,
    WK_FIELD_MASK,
    WK_STRUCT,
    WK_VALUE,
    WK_LIST_VALUE,
    WK_EMPTY,
    WK_WRAPPER /* wrapped says of what */
};

struct ang_enum_value {
    struct ang_slice name;
    int32_t number;
};

struct ang_enum {
    const char *name;
    bool closed;                                /* proto2: numbers it does not know are unknown fields */
    bool null_value;                            /* google.protobuf.NullValue: null in JSON */
    int32_t first;                              /* the default in a map entry */
    struct ang_enum_value *by_number, *by_name; /* by_number: of several with one number the first of the file */
    size_t n_by_number, n_by_name;
};

struct ang_field {
    struct ang_slice name, json_name;
    struct ang_slice quoted_name, quoted_json_name; /* as JSON strings */
    uint32_t number;
    enum ang_kind kind;
    bool repeated; /* maps too */
    bool map;
    bool packed; /* how we write it; both forms are read */
    bool required;
    bool presence;                      /* absent and default are two things */
    uint32_t oneof;                     /* 1 to n_oneofs; 0: in none */
    const struct ang_type *type;        /* of KIND_MESSAGE, KIND_GROUP; of a map: its entry */
    const struct ang_enum *enumeration; /* of KIND_ENUM */
};

/* A key of JSON text; two per field when its names differ. */
struct ang_key {
    struct ang_slice name;
    uint32_t field; /* index in fields */
};

struct ang_type {
    unsigned magic;
#define ANG_TYPE_MAGIC 0x7c0e5e21
    const char *name, *file;
    const struct ang_types *pool;
    enum ang_well_known well_known;
    enum ang_kind wrapped;
    bool map_entry;
    bool extendable;
    struct ang_field *fields; /* by number */
    size_t n_fields;
    size_t n_dense;       /* fields[i].number == i + 1 below this */
    struct ang_key *keys; /* by name */
    size_t n_keys;
    uint32_t n_oneofs, n_required;
};

/* A file that was added. */
struct ang_types_file {
    const char *name; /* lives as long as the pool; the rest until it is linked */
    const char *where;
    struct ang_slice bytes; /* without its comments */
    bool proto3;
    const Google__Protobuf__FileDescriptorProto *desc;
};

/* A message, enum or service of a file, before linking. */
enum ang_symbol_kind { SYM_MESSAGE, SYM_ENUM, SYM_SERVICE };

struct ang_symbol {
    const char *name;
    enum ang_symbol_kind kind;
    uint32_t order; /* in which it was added: the first one is kept */
    const struct ang_types_file *file;
    union {
        const Google__Protobuf__DescriptorProto *message;
        const Google__Protobuf__EnumDescriptorProto *enumeration;
        const Google__Protobuf__ServiceDescriptorProto *service;
    } desc;
    union {
        struct ang_type *message;
        struct ang_enum *enumeration;
        struct ang_service *service;
    } made;
};

struct ang_types {
    unsigned magic;
#define ANG_TYPES_MAGIC 0x7c0e5e20
    bool linked;
    struct ang_arena *arena;

    /* while it is filled */
    struct ang_arena *scratch;
    struct ang_types_file **files;
    size_t n_files, cap_files;
    void *files_by_name; /* tsearch */
    size_t n_bytes;
    struct ang_symbol *symbols; /* sorted by name when linking */
    size_t n_symbols, cap_symbols;
    size_t n_members; /* fields, values and methods */

    /* linked: sorted by name */
    const struct ang_type **messages;
    size_t n_messages;
    const struct ang_service **services;
    size_t n_services;
};

/* "WHERE: FILE: " before the message of every error about a file. */
struct ang_err *types_error(const struct ang_types_file *file, const char *fmt, ...) ANG_PRINTF(2, 3) ANG_MUST_USE;
bool types_is_identifier(const char *s); /* NULL is none */
const struct ang_types_file *types_file(const struct ang_types *ty, const char *name);
/* types_symbols.c: collects the symbols of all files, sorted, each name once. */
struct ang_err *types_collect(struct ang_types *ty) ANG_MUST_USE;
/* By ".full.name"; NULL: none. */
struct ang_symbol *types_symbol(const struct ang_types *ty, const char *dotted);
/* types_make.c: fill what made points to; messages of all symbols must have been allocated. */
struct ang_err *types_make_message(struct ang_types *ty, struct ang_symbol *sym) ANG_MUST_USE;
struct ang_err *types_make_enum(struct ang_types *ty, struct ang_symbol *sym) ANG_MUST_USE;
struct ang_err *types_make_service(struct ang_types *ty, struct ang_symbol *sym) ANG_MUST_USE;
/* After every message was made: marks the maps and checks their entries. */
struct ang_err *types_make_maps(const struct ang_symbol *sym) ANG_MUST_USE;

/* ---- of linked types ---- */
const struct ang_field *ang_type_field(const struct ang_type *type, uint32_t number); /* NULL: none */
const struct ang_field *ang_type_field_named(const struct ang_type *type, struct ang_slice key);
const struct ang_enum_value *ang_enum_of_number(const struct ang_enum *en, int32_t number);
const struct ang_enum_value *ang_enum_of_name(const struct ang_enum *en, struct ang_slice name);

static inline bool ang_kind_packs(enum ang_kind kind) {
    return (kind != KIND_STRING && kind != KIND_BYTES && kind != KIND_MESSAGE && kind != KIND_GROUP);
}

/* How two names are ordered everywhere in a pool: bytewise. */
static inline int ang_slice_cmp(struct ang_slice a, struct ang_slice b) {
    size_t n = a.n < b.n ? a.n : b.n;
    int c = n == 0 ? 0 : memcmp(a.p, b.p, n);

    return (c != 0 ? c : a.n < b.n ? -1 : a.n > b.n);
}

#endif
