/* The catalog: what is found where, sets that do not fit together, and sets that are none. */
#include "test.h"

#include "proto/builtin.h"
#include "proto/catalog.h"
#include "proto/wire.h"

/* One file with one message of one field, and more where it is named. */
struct source {
    const char *name, *package, *import, *message, *field, *type; /* type: of the field, NULL: int32 */
    int number;                                                   /* of the field */
    const char *extendee;
    int extension; /* its number */
};

static void put_field(struct ang_buf *b, uint32_t as, const char *name, int number, const char *type,
                      const char *extendee) {
    struct ang_buf f = {NULL, 0, 0};

    ang_wire_put_str(&f, 1, name);
    if (extendee != NULL)
        ang_wire_put_str(&f, 2, extendee);
    ang_wire_put_int(&f, 3, number);
    ang_wire_put_int(&f, 4, 1);
    ang_wire_put_int(&f, 5, type == NULL ? 5 : 11);
    if (type != NULL)
        ang_wire_put_str(&f, 6, type);
    ang_wire_put_bytes(b, as, ang_buf_slice(&f));
    ang_buf_fini(&f);
}

static void put_file(struct ang_buf *set, const struct source *s) {
    struct ang_buf f = {NULL, 0, 0}, m = {NULL, 0, 0};

    ang_wire_put_str(&f, 1, s->name);
    if (s->package != NULL)
        ang_wire_put_str(&f, 2, s->package);
    if (s->import != NULL)
        ang_wire_put_str(&f, 3, s->import);
    if (s->message != NULL) {
        ang_wire_put_str(&m, 1, s->message);
        put_field(&m, 2, s->field, s->number, s->type, NULL);
        ang_wire_put_bytes(&f, 4, ang_buf_slice(&m));
    }
    if (s->extendee != NULL)
        put_field(&f, 7, "note", s->extension, NULL, s->extendee);
    ang_wire_put_bytes(set, 1, ang_buf_slice(&f));
    ang_buf_fini(&f);
    ang_buf_fini(&m);
}

static struct ang_err *add(struct ang_catalog *c, const struct source *s, size_t n) {
    struct ang_buf set = {NULL, 0, 0};
    struct ang_err *er;

    for (size_t i = 0; i < n && s[i].name != NULL; i++)
        put_file(&set, &s[i]);
    er = ang_catalog_add(c, ang_buf_slice(&set));
    ang_buf_fini(&set); /* the catalog has a copy */
    return (er);
}

static void expect(const char *what, struct ang_err *er, enum ang_ec code, const char *has) {
    if (has == NULL) {
        if (er != NULL)
            fail_msg("%s: %s", what, er->msg);
        return;
    }
    if (er == NULL || er->code != code || strstr(er->msg, has) == NULL)
        fail_msg("%s: got \"%s\", expected \"%s\"", what, er == NULL ? "no error" : er->msg, has);
    ang_err_free(&er);
}

static void assert_in(const struct ang_catalog *c, const char *symbol, const char *file) {
    const struct ang_catalog_file *f = ang_catalog_defining(c, ang_slice_str(symbol));

    if (file == NULL ? f != NULL : f == NULL || !ang_slice_is(f->name, file))
        fail_msg("%s: found in %.*s", symbol, f == NULL ? 7 : (int)f->name.n,
                 f == NULL ? "nothing" : (const char *)f->name.p);
}

static void our_own(void **state) {
    static const char *const rows[][2] = {
        {"angzarr.Cover", "angzarr/types.proto"},
        {"angzarr.Cover.domain", "angzarr/types.proto"},
        {"angzarr.EventPage.sequence", "angzarr/types.proto"}, /* a oneof */
        {"angzarr.SYNC_MODE_SIMPLE", "angzarr/types.proto"},   /* a value, beside its enum */
        {"angzarr.CommandGateway", "angzarr/gateway.proto"},
        {"angzarr.CommandGateway.Execute", "angzarr/gateway.proto"},
        {"grpc.health.v1.HealthCheckResponse.ServingStatus", "grpc/health/v1/health.proto"},
        {"grpc.health.v1.HealthCheckResponse.SERVING", "grpc/health/v1/health.proto"},
        {"grpc.reflection.v1.ServerReflection", "grpc/reflection/v1/reflection.proto"},
        {"grpc.reflection.v1alpha.ServerReflection", "grpc/reflection/v1alpha/reflection.proto"},
        {"google.protobuf.Any", "google/protobuf/any.proto"},
        {"angzarr.SyncMode.SYNC_MODE_SIMPLE", NULL},
        {"angzarr", NULL},
        {".angzarr.Cover", NULL},
        {"angzarr.Cover.", NULL},
        {"", NULL},
    };
    struct ang_catalog *c = ang_catalog_new();
    const struct ang_catalog_file *f = ang_catalog_named(c, ang_slice_str("angzarr/types.proto"));
    bool any = false;

    for (size_t i = 0; i < ANG_COUNT(rows); i++)
        assert_in(c, rows[i][0], rows[i][1]);
    assert_non_null(f);
    for (size_t i = 0; i < f->n_imports; i++)
        any |= ang_slice_is(f->imports[i]->name, "google/protobuf/any.proto");
    assert_true(any);
    assert_null(ang_catalog_named(c, ang_slice_str("types.proto")));
    assert_true(ang_catalog_has_message(c, ang_slice_str("angzarr.Cover")));
    assert_false(ang_catalog_has_message(c, ang_slice_str("angzarr.SyncMode")));
    /* A copy of them changes nothing. */
    const size_t n = ang_catalog_size(c);
    expect("our own again", ang_catalog_add(c, ang_slice_of(ang_builtin_descriptors, ang_builtin_descriptors_n)), ANG_E_WIRE, NULL);
    assert_int_equal(ang_catalog_size(c), n);
    ang_catalog_free(c);
}

#define A                                                                                                              \
    { "a.proto", "p", NULL, "M", "f", NULL, 1, NULL, 0 }

static void fitting(void **state) {
    static const struct {
        const char *what;
        struct source first[2], second[2];
        const char *has; /* NULL: they fit */
    } rows[] = {
        {"the same again", {A}, {A}, NULL},
        {"twice in one set", {A, A}, {A}, NULL},
        {"another file", {A}, {{"b.proto", "p", "a.proto", "N", "f", ".p.M", 1, NULL, 0}}, NULL},
        {"no package", {A}, {{"b.proto", NULL, NULL, "M", "f", NULL, 1, NULL, 0}}, NULL},
        {"another number",
         {A},
         {{"a.proto", "p", NULL, "M", "f", NULL, 2, NULL, 0}},
         "a.proto: differs from the file of the same name that is known already: p.M.f;"},
        {"another type", {A}, {{"a.proto", "p", NULL, "M", "f", ".p.M", 1, NULL, 0}}, ": p.M.f;"},
        {"another field", {A}, {{"a.proto", "p", NULL, "M", "g", NULL, 1, NULL, 0}}, ": p.M.g;"},
        {"one more", {A}, {{"a.proto", "p", NULL, "M", "f", NULL, 1, ".p.M", 9}}, ": p.note;"},
        {"one less", {{"a.proto", "p", NULL, "M", "f", NULL, 1, ".p.M", 9}}, {A}, ": p.note;"},
        {"differs within one set", {A, {"a.proto", "p", NULL, "M", "f", NULL, 2, NULL, 0}}, {A}, ": p.M.f;"},
        {"one symbol, two files",
         {A},
         {{"b.proto", "p", NULL, "M", "g", NULL, 1, NULL, 0}},
         "p.M is defined twice, in "},
        {"a symbol of ours",
         {{"b.proto", "angzarr", NULL, "Cover", "g", NULL, 1, NULL, 0}},
         {A},
         "angzarr.Cover is defined twice, in "},
        {"our file with less",
         {{"angzarr/types.proto", "angzarr", NULL, "UUID", "value", NULL, 1, NULL, 0}},
         {A},
         "angzarr.UUID.value"},
        {"our file with more", {{"angzarr/types.proto", "angzarr", NULL, "Newer", "f", NULL, 1, NULL, 0}}, {A}, NULL},
        {"what ours has not",
         {{"angzarr/types.proto", "angzarr", NULL, "Newer", "f", NULL, 1, NULL, 0},
          {"b.proto", "p", "angzarr/types.proto", "N", "f", ".angzarr.Newer", 1, NULL, 0}},
         {A},
         "b.proto: p.N.f is of a type that is not known: angzarr.Newer"},
        {"an import that is missing",
         {{"b.proto", "p", "c.proto", "N", "f", NULL, 1, NULL, 0}},
         {A},
         "b.proto imports \"c.proto\", which is not in the set"},
        {"a type that is missing",
         {A},
         {{"b.proto", "p", NULL, "N", "f", ".p.O", 1, NULL, 0}},
         "b.proto: p.N.f is of a type that is not known: p.O"},
        {"a type that is no type", {A}, {{"b.proto", "p", NULL, "N", "f", ".p.M.f", 1, NULL, 0}}, "not known: p.M.f"},
        {"an extension of nothing", {{"b.proto", "p", NULL, NULL, NULL, NULL, 0, ".p.X", 9}}, {A}, "not known: p.X"},
        {"one number, two extensions",
         {A},
         {{"b.proto", "q", "a.proto", NULL, NULL, NULL, 0, ".p.M", 9},
          {"c.proto", "r", "a.proto", NULL, NULL, NULL, 0, ".p.M", 9}},
         "p.M has two extensions with the number 9"},
    };

    for (size_t i = 0; i < ANG_COUNT(rows); i++) {
        struct ang_catalog *c = ang_catalog_new();
        struct ang_err *er = add(c, rows[i].first, 2);

        if (er == NULL)
            er = add(c, rows[i].second, 2);
        expect(rows[i].what, er, ANG_E_INVALID, rows[i].has);
        ang_catalog_free(c);
    }
}

static void extensions(void **state) {
    static const struct source files[] = {A,
                                          {"b.proto", "q", "a.proto", NULL, NULL, NULL, 0, ".p.M", 200},
                                          {"c.proto", "r", "a.proto", NULL, NULL, NULL, 0, ".p.M", 100}};
    struct ang_catalog *c = ang_catalog_new();
    const struct ang_catalog_extension *x;
    const struct ang_slice type = ang_slice_str("p.M");

    expect("files", add(c, files, 3), ANG_E_WIRE, NULL);
    assert_int_equal(ang_catalog_extensions(c, type, &x), 2);
    assert_int_equal(x[0].number, 100);
    assert_int_equal(x[1].number, 200);
    assert_true(ang_slice_is(ang_catalog_extending(c, type, 100)->name, "c.proto"));
    assert_null(ang_catalog_extending(c, type, 101));
    assert_null(ang_catalog_extending(c, ang_slice_str("p.N"), 100));
    assert_int_equal(ang_catalog_extensions(c, ang_slice_str("p.N"), &x), 0);
    assert_in(c, "q.note", "b.proto");
    ang_catalog_free(c);
}

static void no_sets(void **state) {
    static const struct {
        const char *what, *bytes, *has;
    } rows[] = {
        {"nothing", "", "there is no file in it"},
        {"text", "'syntax = \"proto3\";'", "not an encoded google.protobuf.FileDescriptorSet"},
        {"another message", "08 01", "there is no file in it"},
        {"cut off", "0a 09 0a 07 'a.proto'", NULL},
        {"cut off", "0a 0a 0a 07 'a.proto'", "not an encoded google.protobuf.FileDescriptorSet: "},
        {"a file, not a set", "0a 07 'a.proto' 12 01 'p'", "not an encoded google.protobuf.FileDescriptorSet: "},
        {"no name", "0a 03 12 01 'p'", "a file has no name"},
        {"a name with a line end", "0a 04 0a 02 'a' 0a", "a file has no name"},
        {"no UTF-8", "0a 03 0a 01 ff", "a file has no name"},
        {"a package that is no name", "0a 0d 0a 07 'a.proto' 12 02 'p.'", "a.proto: its package is no name"},
        {"a message without a name", "0a 0b 0a 07 'a.proto' 22 00", "a.proto: a name is missing, or no name"},
        {"a message with a bad name", "0a 0e 0a 07 'a.proto' 22 03 0a 01 '1'",
         "a.proto: a name is missing, or no name"},
        {"a message that is a number", "0a 0b 0a 07 'a.proto' 20 00", "a.proto: a definition is no message"},
        {"a group inside", "0a 0f 0a 07 'a.proto' 22 04 0a 01 'M' 0b", "a.proto: in M: "},
        {"defined twice", "0a 13 0a 07 'a.proto' 22 03 0a 01 'M' 22 03 0a 01 'M'", "a.proto: in M: defined twice"},
        {"a relative type", "0a 18 0a 07 'a.proto' 22 0d 0a 01 'M' 12 08 0a 01 'f' 32 03 'p.N'",
         "M.f: a type is named without its package"},
    };

    for (size_t i = 0; i < ANG_COUNT(rows); i++) {
        struct ang_catalog *c = ang_catalog_new();
        struct ang_slice set = bytes_of(rows[i].bytes);

        expect(rows[i].what, ang_catalog_add(c, set), ANG_E_WIRE, rows[i].has);
        drop(set);
        ang_catalog_free(c);
    }
}

/* Messages in messages, in a file: as deep as that. */
static struct ang_err *add_nested(struct ang_catalog *c, int depth, const char *name) {
    struct ang_buf in = {NULL, 0, 0}, out = {NULL, 0, 0};
    struct ang_err *er;

    for (int i = 0; i < depth; i++) {
        ang_buf_clear(&out);
        ang_wire_put_str(&out, 1, name);
        if (in.n != 0)
            ang_wire_put_bytes(&out, 3, ang_buf_slice(&in));
        struct ang_buf t = in;
        in = out;
        out = t;
    }
    ang_buf_clear(&out);
    ang_wire_put_str(&out, 1, "deep.proto");
    ang_wire_put_bytes(&out, 4, ang_buf_slice(&in));
    ang_buf_clear(&in);
    ang_wire_put_bytes(&in, 1, ang_buf_slice(&out));
    er = ang_catalog_add(c, ang_buf_slice(&in));
    ang_buf_fini(&in);
    ang_buf_fini(&out);
    return (er);
}

static void bounds(void **state) {
    static const char long_name[] =
        "a_name_that_has_one_hundred_characters_in_it_so_that_ten_of_them_in_each_other_are_more_than_allowed";
    static const struct {
        int depth;
        const char *name, *has;
    } rows[] = {{64, "M", NULL},
                {65, "M", "nested more than 64 deep"},
                {5000, "M", "nested more than 64 deep"},
                {10, long_name, NULL},
                {11, long_name, "a full name has more than 1024 characters"}};

    for (size_t i = 0; i < ANG_COUNT(rows); i++) {
        struct ang_catalog *c = ang_catalog_new();

        expect(rows[i].name, add_nested(c, rows[i].depth, rows[i].name), ANG_E_WIRE, rows[i].has);
        ang_catalog_free(c);
    }
}

/* Damaged copies of a real set: an error or not, but nothing else. */
static void damaged(void **state) {
    uint64_t rng = 0x9e3779b97f4a7c15u;
    const size_t n = ang_builtin_descriptors_n;

    for (int round = 0; round < 2000; round++) {
        struct ang_catalog *c = ang_catalog_new();
        uint8_t *copy = malloc(n);
        size_t len = n;
        struct ang_err *er;

        memcpy(copy, ang_builtin_descriptors, n);
        for (int i = 0; i < 1 + round % 4; i++) {
            rng ^= rng << 13;
            rng ^= rng >> 7;
            rng ^= rng << 17;
            copy[rng % n] = (uint8_t)(rng >> 40);
        }
        if (round % 8 == 7)
            len = rng % n;
        uint8_t *exact = realloc(copy, len == 0 ? 1 : len);
        er = ang_catalog_add(c, ang_slice_of(exact, len));
        if (er != NULL) {
            assert_true(er->code == ANG_E_WIRE || er->code == ANG_E_INVALID);
            assert_true(ang_utf8_ok(ang_slice_str(er->msg)));
        }
        ang_err_free(&er);
        free(exact);
        ang_catalog_free(c);
    }
}

static void paths(void **state) {
    struct ang_catalog *c = ang_catalog_new();
    expect("missing", ang_catalog_add_path(c, "/nowhere/types.pb"), ANG_E_IO, "No such file");
    expect("a folder", ang_catalog_add_path(c, "/"), ANG_E_IO, "Is a directory");
    ang_catalog_free(c);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(our_own), cmocka_unit_test(fitting), cmocka_unit_test(extensions), cmocka_unit_test(no_sets),
        cmocka_unit_test(bounds),  cmocka_unit_test(damaged), cmocka_unit_test(paths),
    };
    return (cmocka_run_group_tests(tests, NULL, NULL));
}
