/* Pools of types: what is built in, what users' sets bring, and what is wrong with bad ones. */
#include "test.h"

#include "google/protobuf/descriptor.pb-c.h"
#include "proto/builtin.h"
#include "proto/json.h"

typedef Google__Protobuf__FieldDescriptorProto field_desc;
typedef Google__Protobuf__DescriptorProto message_desc;
typedef Google__Protobuf__FileDescriptorProto file_desc;

/* ---- sets by hand: one file "a.proto" of package "a" with a message M, as each row wants it ---- */

struct stage {
    file_desc file;
    message_desc m, inner;
    field_desc f, g;
    message_desc *messages[2], *nested[1];
    field_desc *fields[2];
    Google__Protobuf__EnumDescriptorProto e;
    Google__Protobuf__EnumDescriptorProto *enums[1];
    Google__Protobuf__EnumValueDescriptorProto v;
    Google__Protobuf__EnumValueDescriptorProto *values[1];
    Google__Protobuf__ServiceDescriptorProto s;
    Google__Protobuf__ServiceDescriptorProto *services[1];
    Google__Protobuf__MethodDescriptorProto method;
    Google__Protobuf__MethodDescriptorProto *methods[1];
    Google__Protobuf__MessageOptions options;
    char *imports[1];
};

static char *text(const char *s) {
    return ((char *)(uintptr_t)s); /* protobuf-c's structs are not const; nobody writes */
}

static void set_up(struct stage *st) {
    google__protobuf__file_descriptor_proto__init(&st->file);
    google__protobuf__descriptor_proto__init(&st->m);
    google__protobuf__descriptor_proto__init(&st->inner);
    google__protobuf__field_descriptor_proto__init(&st->f);
    google__protobuf__field_descriptor_proto__init(&st->g);
    google__protobuf__enum_descriptor_proto__init(&st->e);
    google__protobuf__enum_value_descriptor_proto__init(&st->v);
    google__protobuf__service_descriptor_proto__init(&st->s);
    google__protobuf__method_descriptor_proto__init(&st->method);
    google__protobuf__message_options__init(&st->options);
    st->file.name = text("a.proto");
    st->file.package = text("a");
    st->file.syntax = text("proto3");
    st->file.n_message_type = 1;
    st->file.message_type = st->messages;
    st->messages[0] = &st->m;
    st->messages[1] = &st->inner;
    st->m.name = text("M");
    st->inner.name = text("Inner");
    st->m.n_field = 1;
    st->m.field = st->fields;
    st->fields[0] = &st->f;
    st->fields[1] = &st->g;
    st->f.name = text("some_field");
    st->g.name = text("other");
    st->f.has_number = st->g.has_number = st->f.has_type = st->g.has_type = 1;
    st->f.number = 1;
    st->g.number = 2;
    st->f.type = st->g.type = GOOGLE__PROTOBUF__FIELD_DESCRIPTOR_PROTO__TYPE__TYPE_STRING;
    st->enums[0] = &st->e;
    st->values[0] = &st->v;
    st->e.name = text("E");
    st->v.name = text("ZERO");
    st->v.has_number = 1;
    st->services[0] = &st->s;
    st->methods[0] = &st->method;
    st->s.name = text("S");
    st->s.n_method = 1;
    st->s.method = st->methods;
    st->method.name = text("Do");
    st->method.input_type = st->method.output_type = text(".a.M");
    st->nested[0] = &st->inner;
}

static struct ang_err *add(struct ang_types *ty, const struct stage *st, const char *where) {
    size_t n = google__protobuf__file_descriptor_proto__get_packed_size(&st->file);
    uint8_t *p = malloc(n + 1);
    struct ang_err *er;

    google__protobuf__file_descriptor_proto__pack(&st->file, p);
    er = ang_types_add_file(ty, ang_slice_of(p, n), where);
    free(p);
    return (er);
}

static void no_error(struct ang_err *er) {
    if (er != NULL)
        fail_msg("%s", er->msg);
}

/* ---- what is wrong is said by name ---- */

static void unknown_message(struct stage *st) {
    st->f.type = GOOGLE__PROTOBUF__FIELD_DESCRIPTOR_PROTO__TYPE__TYPE_MESSAGE;
    st->f.type_name = text(".a.Nowhere");
}
static void unknown_enum(struct stage *st) {
    st->f.type = GOOGLE__PROTOBUF__FIELD_DESCRIPTOR_PROTO__TYPE__TYPE_ENUM;
    st->f.type_name = text(".a.M"); /* a message */
}
static void relative_name(struct stage *st) {
    st->f.type = GOOGLE__PROTOBUF__FIELD_DESCRIPTOR_PROTO__TYPE__TYPE_MESSAGE;
    st->f.type_name = text("M");
}
static void missing_import(struct stage *st) {
    st->imports[0] = text("shop/money.proto");
    st->file.n_dependency = 1;
    st->file.dependency = st->imports;
}
static void edition(struct stage *st) {
    st->file.syntax = text("editions");
}
static void no_name(struct stage *st) {
    st->m.name = text("not a name");
}
static void bad_package(struct stage *st) {
    st->file.package = text("a..b");
}
static void number_zero(struct stage *st) {
    st->f.number = 0;
}
static void number_twice(struct stage *st) {
    st->m.n_field = 2;
    st->g.number = 1;
}
static void no_kind(struct stage *st) {
    st->f.type = (Google__Protobuf__FieldDescriptorProto__Type)99;
}
static void no_such_oneof(struct stage *st) {
    st->f.has_oneof_index = 1;
    st->f.oneof_index = 3;
}
static void negative_oneof(struct stage *st) {
    st->f.has_oneof_index = 1;
    st->f.oneof_index = -1;
}
static void empty_enum(struct stage *st) {
    st->file.n_enum_type = 1;
    st->file.enum_type = st->enums;
}
static void method_of_nothing(struct stage *st) {
    st->file.n_service = 1;
    st->file.service = st->services;
    st->method.output_type = text(".a.Nowhere");
}
static void entry_that_is_none(struct stage *st) {
    st->file.n_message_type = 2;
    st->options.has_map_entry = st->options.map_entry = 1;
    st->inner.options = &st->options;
    st->f.has_label = 1;
    st->f.label = GOOGLE__PROTOBUF__FIELD_DESCRIPTOR_PROTO__LABEL__LABEL_REPEATED;
    st->f.type = GOOGLE__PROTOBUF__FIELD_DESCRIPTOR_PROTO__TYPE__TYPE_MESSAGE;
    st->f.type_name = text(".a.Inner");
}
static void enum_and_message(struct stage *st) {
    st->file.n_enum_type = 1;
    st->file.enum_type = st->enums;
    st->e.name = text("M");
    st->e.n_value = 1;
    st->e.value = st->values;
}

static void test_bad_sets_are_refused_by_name(void **state) {
    static const struct {
        void (*spoil)(struct stage *);
        const char *message;
    } rows[] = {
        {unknown_message, "set.pb: a.proto: a.M.some_field: the message .a.Nowhere is in no set"},
        {unknown_enum, "set.pb: a.proto: a.M.some_field: the enum .a.M is in no set"},
        {relative_name, "set.pb: a.proto: a.M.some_field: the message M is in no set"},
        {missing_import,
         "set.pb: a.proto: imports shop/money.proto, which is in no set: build it with --include_imports"},
        {edition, "set.pb: a.proto: its syntax is \"editions\": only proto2 and proto3 are known"},
        {no_name, "set.pb: a.proto: \"not a name\" in \"a\" is no name"},
        {bad_package, "set.pb: a.proto: \".b\" is no name of a package"},
        {number_zero, "set.pb: a.proto: a.M.some_field: its number is out of range"},
        {number_twice, "set.pb: a.proto: a.M: the number 1 comes twice"},
        {no_kind, "set.pb: a.proto: a.M.some_field: of an unknown kind"},
        {no_such_oneof, "set.pb: a.proto: a.M.some_field: its oneof is not declared"},
        {negative_oneof, "set.pb: a.proto: a.M.some_field: its oneof is not declared"},
        {empty_enum, "set.pb: a.proto: a.E: an enum without values"},
        {method_of_nothing, "set.pb: a.proto: a.S.Do: the message .a.Nowhere is in no set"},
        {entry_that_is_none, "set.pb: a.proto: a.M.some_field: not a map, although a.Inner is marked as an entry"},
        {enum_and_message, "set.pb: a.proto: a.M is declared otherwise in a.proto (set.pb)"},
    };

    for (size_t i = 0; i < ANG_COUNT(rows); i++) {
        struct ang_types *ty = ang_types_new();
        struct stage st = {0};
        struct ang_err *er;

        set_up(&st);
        rows[i].spoil(&st);
        er = add(ty, &st, "set.pb");
        if (er == NULL)
            er = ang_types_link(ty);
        if (er == NULL)
            fail_msg("accepted; wanted: %s", rows[i].message);
        assert_int_equal(er->code, ANG_E_TYPES);
        assert_string_equal(er->msg, rows[i].message);
        ang_err_free(&er);
        ang_types_free(&ty);
    }
}

static void test_bytes_that_are_no_set(void **state) {
    static const struct {
        const char *bytes, *message;
    } rows[] = {
        {"0a", "set.pb: not a set of descriptors: truncated varint"},
        {"0a 05 0a", "set.pb: not a set of descriptors: length past the end"},
        {"0a 02 0a 05", "set.pb: not a set of descriptors: length past the end"},
        {"0a 00", "set.pb: not a set of descriptors: a file without a name"},
        {"0a 03 0a 01 ff", "set.pb: not a set of descriptors: the name of a file is not UTF-8"},
        {"0a 04 22 02 1a 05", "set.pb: not a set of descriptors: length past the end"},
        {"'{\"a\": 1}'", "set.pb: not a set of descriptors: group"},
    };

    for (size_t i = 0; i < ANG_COUNT(rows); i++) {
        struct ang_slice bytes = bytes_of(rows[i].bytes);
        struct ang_types *ty = ang_types_new();
        struct ang_err *er = ang_types_add(ty, bytes, "set.pb");

        assert_non_null(er);
        assert_string_equal(er->msg, rows[i].message);
        ang_err_free(&er);
        ang_types_free(&ty);
        drop(bytes);
    }
}

/* protobuf-c has no limit of its own: a set of a few hundred kilobytes would run it out of stack. */
static void test_nesting_is_bounded(void **state) {
    struct ang_types *ty = ang_types_new();
    struct ang_buf b = {0}, outer = {0};
    struct ang_err *er;

    for (int i = 0; i < 20000; i++) {
        ang_buf_clear(&outer);
        ang_wire_put_bytes(&outer, i == 19999 ? 4 : 3, ang_buf_slice(&b));
        ang_buf_clear(&b);
        ang_buf_add_slice(&b, ang_buf_slice(&outer));
    }
    er = ang_types_add_file(ty, ang_buf_slice(&b), "set.pb");
    assert_non_null(er);
    assert_string_equal(er->msg, "set.pb: not a set of descriptors: messages are declared too deep inside each other");
    ang_err_free(&er);
    ang_buf_fini(&b);
    ang_buf_fini(&outer);
    ang_types_free(&ty);
}

/* ---- the same again ---- */

static void test_a_declaration_may_come_again(void **state) {
    struct ang_types *ty = ang_types_new();
    struct stage st = {0};

    set_up(&st);
    no_error(add(ty, &st, "one.pb"));
    no_error(add(ty, &st, "two.pb")); /* the same bytes */
    st.f.json_name = text("someField");
    no_error(add(ty, &st, "three.pb")); /* said where it was understood */
    st.file.name = text("elsewhere/a.proto");
    no_error(add(ty, &st, "four.pb"));
    no_error(ang_types_link(ty));
    assert_int_equal(ang_types_n_messages(ty), 1);
    assert_string_equal(ang_type_file(ang_types_message(ty, ang_slice_str("a.M"))), "a.proto");
    ang_types_free(&ty);
}

static void test_a_declaration_may_not_change(void **state) {
    struct ang_types *ty = ang_types_new();
    struct stage st = {0};
    struct ang_err *er;

    set_up(&st);
    no_error(add(ty, &st, "one.pb"));
    st.m.n_field = 2;
    no_error(add(ty, &st, "two.pb"));
    er = ang_types_link(ty);
    assert_non_null(er);
    assert_string_equal(er->msg, "two.pb: a.proto: a.M is declared otherwise in a.proto (one.pb): other differs");
    ang_err_free(&er);
    ang_types_free(&ty);
}

static void test_files_one_by_one(void **state) {
    struct ang_types *ty = ang_types_new();
    struct stage st = {0};

    set_up(&st);
    missing_import(&st);
    no_error(add(ty, &st, "reflection"));
    assert_string_equal(ang_types_missing(ty), "shop/money.proto");
    set_up(&st);
    st.file.n_dependency = 0;
    st.file.name = text("shop/money.proto");
    st.file.package = NULL;
    no_error(add(ty, &st, "reflection"));
    assert_null(ang_types_missing(ty));
    no_error(ang_types_link(ty));
    assert_non_null(ang_types_message(ty, ang_slice_str("M")));
    ang_types_free(&ty);
}

/* ---- what is built in ---- */

static void test_built_in(void **state) {
    static const char *const messages[] = {
        "angzarr.EventBook",         "angzarr.ext.OwnerRecord",   "grpc.health.v1.HealthCheckRequest",
        "google.rpc.Status",         "google.protobuf.Any",       "google.protobuf.Struct",
        "google.protobuf.FieldMask", "google.protobuf.Int64Value"};
    const struct ang_types *ty = ang_types_builtin();
    const struct ang_method *method;

    assert_ptr_equal(ty, ang_types_builtin());
    for (size_t i = 0; i < ANG_COUNT(messages); i++)
        if (ang_types_message(ty, ang_slice_str(messages[i])) == NULL)
            fail_msg("%s is not built in", messages[i]);
    assert_null(ang_types_message(ty, ang_slice_str("google.protobuf.Struct.FieldsEntry")));
    assert_null(ang_types_message(ty, ang_slice_str("")));
    assert_non_null(ang_types_message_of_url(ty, ang_slice_str("type.googleapis.com/angzarr.Cover")));

    method = ang_types_method(ty, ang_slice_str("/angzarr.CommandGateway/ExecuteStream"));
    assert_non_null(method);
    assert_string_equal(method->name, "ExecuteStream");
    assert_string_equal(method->path, "/angzarr.CommandGateway/ExecuteStream");
    assert_string_equal(ang_type_name(method->input), "angzarr.CommandBook");
    assert_string_equal(ang_type_name(method->output), "angzarr.EventBook");
    assert_true(method->server_streaming && !method->client_streaming);
    assert_ptr_equal(ang_types_method(ty, ang_slice_str("angzarr.CommandGateway/ExecuteStream")), method);
    assert_null(ang_types_method(ty, ang_slice_str("angzarr.CommandGateway/Nothing")));
    assert_null(ang_types_method(ty, ang_slice_str("angzarr.CommandGateway")));
    assert_null(ang_types_method(ty, ang_slice_str("/")));
    assert_null(ang_types_method(ty, ANG_SLICE_NONE));

    for (size_t i = 1; i < ang_types_n_services(ty); i++)
        assert_true(strcmp(ang_types_service_at(ty, i - 1)->name, ang_types_service_at(ty, i)->name) < 0);
    assert_string_equal(ang_types_service(ty, ang_slice_str("angzarr.EventQuery"))->file, "angzarr/query.proto");
}

static void test_the_built_in_set_may_come_again(void **state) {
    struct ang_types *ty = ang_types_new();

    no_error(ang_types_add_builtin(ty));
    no_error(ang_types_add(ty, ang_slice_of(ang_builtin_descriptors, ang_builtin_descriptors_n), "again.pb"));
    no_error(ang_types_link(ty));
    assert_int_equal(ang_types_n_messages(ty), ang_types_n_messages(ang_types_builtin()));
    ang_types_free(&ty);
    ang_types_free(&ty);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bad_sets_are_refused_by_name),
        cmocka_unit_test(test_bytes_that_are_no_set),
        cmocka_unit_test(test_nesting_is_bounded),
        cmocka_unit_test(test_a_declaration_may_come_again),
        cmocka_unit_test(test_a_declaration_may_not_change),
        cmocka_unit_test(test_files_one_by_one),
        cmocka_unit_test(test_built_in),
        cmocka_unit_test(test_the_built_in_set_may_come_again),
    };

    return (cmocka_run_group_tests(tests, NULL, NULL));
}
