/* The JSON mapping by the types that are built in: exact texts and bytes, options, limits.  tests/json compares it with
 * google's own on random messages of every kind of field. */
#include "test.h"

#include "proto/json.h"

static const struct ang_type *type_of(const char *name) {
    const struct ang_type *type = ang_types_message(ang_types_builtin(), ang_slice_str(name));

    if (type == NULL)
        fail_msg("%s is not built in", name);
    return (type);
}

static void assert_text(const char *what, struct ang_slice got, const char *want) {
    if (!ang_slice_is(got, want))
        fail_msg("%s: got %.*s\nwanted %s", what, (int)got.n, (const char *)got.p, want);
}

static struct ang_slice exact_text(const char *text) {
    size_t n = strlen(text);
    char *p = malloc(n == 0 ? 1 : n);

    memcpy(p, text, n);
    return (ang_slice_of(p, n));
}

/* ---- both ways ---- */

static void test_bytes_are_text_and_text_is_bytes(void **state) {
    static const struct {
        const char *type, *bytes, *text;
    } rows[] = {
        {"angzarr.Cover", "", "{}"},
        {"angzarr.Cover", "0a 04 0a 02 00ff 12 05 'order' 22 00",
         "{\"root\":{\"value\":\"AP8=\"},\"domain\":\"order\",\"edition\":{}}"},
        {"angzarr.EventPage", "08 00", "{\"num\":0}"}, /* presence in a oneof */
        {"angzarr.EventPage", "10 01 1a 06 08 80a3 05 10 05", NULL},
        {"angzarr.EventPage", "10 01 1a 04 08 01 10 05",
         "{\"force\":true,\"createdAt\":\"1970-01-01T00:00:01.000000005Z\"}"},
        {"angzarr.EventPage", "22 1a 0a 0f 'x/angzarr.Cover' 12 07 12 05 'order'",
         "{\"event\":{\"@type\":\"x/angzarr.Cover\",\"domain\":\"order\"}}"},
        {"angzarr.EventPage", "22 0c 0a 06 'no/t.T' 12 02 0001",
         "{\"event\":{\"@type\":\"no/t.T\",\"value\":\"AAE=\"}}"},
        {"google.protobuf.Any", "", "{}"},
        {"google.protobuf.Any", "0a 1a 'x/google.protobuf.Duration' 12 0b 08ffffffffffffffffff01",
         "{\"@type\":\"x/google.protobuf.Duration\",\"value\":\"-1s\"}"},
        {"google.protobuf.Any", "0a 17 'x/google.protobuf.Empty'", "{\"@type\":\"x/google.protobuf.Empty\"}"},
        {"google.protobuf.DoubleValue", "09 000000000000f83f", "1.5"},
        {"google.protobuf.DoubleValue", "09 9a9999999999b93f", "0.1"},
        {"google.protobuf.DoubleValue", "09 0000000000000080", "-0.0"},
        {"google.protobuf.DoubleValue", "09 000000000000f0ff", "\"-Infinity\""},
        {"google.protobuf.FloatValue", "0d cdcccc3d", "0.1"},
        {"google.protobuf.FloatValue", "0d 0000c07f", "\"NaN\""},
        {"google.protobuf.Int64Value", "08 80808080808080808001", "\"-9223372036854775808\""},
        {"google.protobuf.UInt64Value", "08 ffffffffffffffffff01", "\"18446744073709551615\""},
        {"google.protobuf.Int32Value", "", "0"},
        {"google.protobuf.BytesValue", "0a 03 fbff00", "\"+/8A\""},
        {"google.protobuf.StringValue", "0a 06 22 5c 0a 01 7f 2f", "\"\\\"\\\\\\n\\u0001\\u007f/\""},
        {"google.protobuf.Timestamp", "08 80 92b8c3 98feffffff 01", "\"0001-01-01T00:00:00Z\""},
        {"google.protobuf.Timestamp", "10 80 8a f5 3a", NULL},
        {"google.protobuf.Timestamp", "10 c0 84 3d", "\"1970-01-01T00:00:00.001Z\""},
        {"google.protobuf.Duration", "10 c08db7ffffffffffff01", NULL},
        {"google.protobuf.Duration", "10 ffffffffffffffffff01", "\"-0.000000001s\""},
        {"google.protobuf.FieldMask", "0a 07 'a_b.c_d' 0a 01 'x'", "\"aB.cD,x\""},
        {"google.protobuf.Value", "08 00", "null"},
        {"google.protobuf.Value", "32 04 0a 02 20 01", "[true]"},
        {"google.protobuf.Struct", "0a 0a 0a 01 'k' 12 05 1a 03 'abc'", "{\"k\":\"abc\"}"},
        {"google.protobuf.ListValue", "", "[]"},
        {"google.rpc.Status", "08 05 12 01 'm' 1a 00", "{\"code\":5,\"message\":\"m\",\"details\":[{}]}"},
        {"grpc.health.v1.HealthCheckResponse", "08 01", "{\"status\":\"SERVING\"}"},
        {"grpc.health.v1.HealthCheckResponse", "08 63", "{\"status\":99}"},
    };

    for (size_t i = 0; i < ANG_COUNT(rows); i++) {
        struct ang_slice bytes = bytes_of(rows[i].bytes), text;
        struct ang_buf out = {0}, back = {0};
        struct ang_err *er = ang_json_print(type_of(rows[i].type), bytes, NULL, &out);

        if (er != NULL)
            fail_msg("%s %s: %s", rows[i].type, rows[i].bytes, er->msg);
        if (rows[i].text != NULL)
            assert_text(rows[i].type, ang_buf_slice(&out), rows[i].text);
        ang_buf_add_u8(&out, 0);
        text = exact_text((const char *)out.p);
        er = ang_json_parse(type_of(rows[i].type), text, NULL, &back);
        if (er != NULL)
            fail_msg("%s %s: %s", rows[i].type, (const char *)out.p, er->msg);
        assert_bytes(rows[i].type, ang_buf_slice(&back), rows[i].bytes);
        drop(bytes);
        drop(text);
        ang_buf_fini(&out);
        ang_buf_fini(&back);
    }
}

/* ---- what readers accept beyond what writers write ---- */

static void test_bytes_that_others_write(void **state) {
    static const struct {
        const char *what, *type, *bytes, *text;
    } rows[] = {
        {"the last value", "angzarr.Cover", "12 01 'a' 12 01 'b'", "{\"domain\":\"b\"}"},
        {"a message in pieces", "angzarr.CommandBook", "0a 03 12 01 'd' 0a 03 1a 01 'c'",
         "{\"cover\":{\"domain\":\"d\",\"correlationId\":\"c\"}}"},
        {"the last of a oneof", "angzarr.EventPage", "08 07 10 01", "{\"force\":true}"},
        {"a oneof's message, undone and set anew", "google.protobuf.Value",
         "2a 07 0a 05 0a 01 'a' 12 00 20 01 2a 07 0a 05 0a 01 'b' 12 00", "{\"b\":null}"},
        {"a oneof's message in pieces", "google.protobuf.Value",
         "2a 07 0a 05 0a 01 'a' 12 00 2a 07 0a 05 0a 01 'b' 12 00", "{\"a\":null,\"b\":null}"},
        {"the last entry of a key", "google.protobuf.Struct", "0a 07 0a 01 'a' 12 02 20 01 0a 07 0a 01 'a' 12 02 20 00",
         "{\"a\":false}"},
        {"an entry without key and value", "google.protobuf.Struct", "0a 00", "{\"\":null}"},
        {"packed", "angzarr.SequenceSet", "0a 02 01 02 08 03", "{\"values\":[1,2,3]}"},
        {"packed and empty", "angzarr.SequenceSet", "0a 00", "{}"},
        {"unknown fields", "angzarr.Cover", "12 01 'a' c2 3e 01 'x' d0 3e 05", "{\"domain\":\"a\"}"},
        {"a field of another wire type", "angzarr.Cover", "10 07 1a 01 'c'", "{\"correlationId\":\"c\"}"},
        {"an int32 with bits above", "google.protobuf.Int32Value", "08 ffffffff7f", "-1"},
        {"a default that was sent", "angzarr.Cover", "12 00", "{}"},
    };

    for (size_t i = 0; i < ANG_COUNT(rows); i++) {
        struct ang_slice bytes = bytes_of(rows[i].bytes);
        struct ang_buf out = {0};
        struct ang_err *er = ang_json_print(type_of(rows[i].type), bytes, NULL, &out);

        if (er != NULL)
            fail_msg("%s: %s", rows[i].what, er->msg);
        assert_text(rows[i].what, ang_buf_slice(&out), rows[i].text);
        drop(bytes);
        ang_buf_fini(&out);
    }
}

/* ---- errors ---- */

static void test_bad_bytes_are_named(void **state) {
    static const struct {
        const char *type, *bytes, *message;
    } rows[] = {
        {"angzarr.CommandBook", "0a 03 12 05 'd'", "cover: not a angzarr.Cover: length past the end"},
        {"angzarr.CommandBook", "0a 03 12 01 ff", "cover.domain: a string that is not UTF-8"},
        {"angzarr.Cover", "0b 0c", "angzarr.Cover: not a angzarr.Cover: group"},
        {"angzarr.EventBook", "1a 02 08 01 1a 06 1a 04 10 80 01 08", NULL},
        {"angzarr.EventPage", "1a 06 10 80 94eb dc03", "createdAt: a Timestamp with nanos outside 0 to 999999999"},
        {"angzarr.EventPage", "1a 07 08 80 8080 80 80 20", NULL},
        {"google.protobuf.Duration", "08 01 10 ffffffffffffffffff01",
         "google.protobuf.Duration: a Duration with seconds and nanos of different signs"},
        {"google.protobuf.FieldMask", "0a 01 'A'",
         "google.protobuf.FieldMask: a FieldMask that JSON cannot hold: a path has a capital letter or a comma"},
        {"google.protobuf.Value", "11 000000000000f87f",
         "google.protobuf.Value: a Value whose number is not finite, which JSON cannot hold"},
        {"google.protobuf.Struct", "0a 0f 0a 01 'k' 12 0a 32 08 0a 06 1a 04 'abc' ff",
         "[\"k\"][0]: a string that is not UTF-8"},
        {"angzarr.SequenceSet", "0a 02 01 80", "values[1]: packed values: truncated varint"},
    };

    for (size_t i = 0; i < ANG_COUNT(rows); i++) {
        struct ang_slice bytes = bytes_of(rows[i].bytes);
        struct ang_buf out = {0};
        struct ang_err *er;

        ang_buf_add_str(&out, "before");
        er = ang_json_print(type_of(rows[i].type), bytes, NULL, &out);
        if (er == NULL)
            fail_msg("%s %s: accepted: %.*s", rows[i].type, rows[i].bytes, (int)out.n, (const char *)out.p);
        assert_int_equal(er->code, ANG_E_WIRE);
        if (rows[i].message != NULL)
            assert_string_equal(er->msg, rows[i].message);
        assert_text("the buffer", ang_buf_slice(&out), "before");
        ang_err_free(&er);
        drop(bytes);
        ang_buf_fini(&out);
    }
}

static void test_bad_text_is_named(void **state) {
    static const struct {
        const char *type, *text, *message;
    } rows[] = {
        {"angzarr.CommandBook", "{\"pages\": [{\"command\": {\"@type\": \"x/angzarr.Cover\", \"foo\": 1}}]}",
         "pages[0].command.foo: angzarr.Cover has no such field"},
        {"angzarr.CommandBook", "{\"pages\": [{\"sequence\": -1}]}", "pages[0].sequence: expected a uint32, got -1"},
        {"angzarr.Cover", "{\"a b\": 1}", "[\"a b\"]: angzarr.Cover has no such field"},
        {"angzarr.Cover", "{\"[x.y]\": 1}", "[\"[x.y]\"]: extensions are not supported"},
        {"angzarr.Cover", "{\"domain\": \"a\", \"domain\": null}", "domain: the field comes twice"},
        {"angzarr.EventPage", "{\"event\": {\"a\": 1}}", "event[\"@type\"]: an Any requires the field"},
        {"angzarr.EventPage", "{\"event\": {\"@type\": \"a/b\", \"value\": 1}}",
         "event: the type \"a/b\" is not known, and there is not just a \"value\" in base64"},
        {"angzarr.EventPage", "{\"event\": {\"@type\": \"x/google.protobuf.Duration\"}}",
         "event.value: an Any with a google.protobuf.Duration requires the field"},
        {"angzarr.EventPage", "{\"createdAt\": \"yesterday\"}",
         "createdAt: not a time like 2006-01-02T15:04:05.999Z or 2006-01-02T15:04:05+01:00"},
        {"google.protobuf.Struct", "{\"a\": 1, \"\\u0061\": 2}", "[\"a\"]: the key comes twice"},
        {"google.protobuf.Value", "1e999",
         "google.protobuf.Value: expected a number that a double can hold, got 1e999"},
        {"google.protobuf.BytesValue", "\"a$bc\"",
         "google.protobuf.BytesValue: expected bytes in base64, got \"a$bc\""},
        {"angzarr.Cover", "{\n\"domain\": }",
         "line 2, column 11: parse error: unallowed token at this point in JSON text"},
        {"angzarr.Cover", "", "line 1, column 1: parse error: premature EOF"},
        {"angzarr.Cover", "{} x", "line 1, column 4: parse error: trailing garbage"},
        {"angzarr.Cover", "// no comments\n{}", NULL},
        {"google.protobuf.StringValue", "\"a\nb\"", NULL},
    };

    for (size_t i = 0; i < ANG_COUNT(rows); i++) {
        struct ang_slice text = exact_text(rows[i].text);
        struct ang_buf out = {0};
        struct ang_err *er = ang_json_parse(type_of(rows[i].type), text, NULL, &out);

        if (er == NULL)
            fail_msg("accepted: %s", rows[i].text);
        assert_int_equal(er->code, ANG_E_JSON);
        if (rows[i].message != NULL)
            assert_string_equal(er->msg, rows[i].message);
        assert_int_equal(out.n, 0);
        ang_err_free(&er);
        drop(text);
        ang_buf_fini(&out);
    }
}

/* ---- options and limits ---- */

static void test_lay_out(void **state) {
    static const char want[] = "{\n"
                               "  \"cover\": {\n"
                               "    \"correlation_id\": \"c\"\n"
                               "  },\n"
                               "  \"pages\": [\n"
                               "    {},\n"
                               "    {\n"
                               "      \"sequence\": 1\n"
                               "    }\n"
                               "  ]\n"
                               "}";
    struct ang_slice bytes = bytes_of("0a 03 1a 01 'c' 12 00 12 02 08 01");
    struct ang_json_opts opts = {.pretty = true, .proto_names = true};
    struct ang_buf out = {0}, back = {0};

    assert_null(ang_json_print(type_of("angzarr.CommandBook"), bytes, &opts, &out));
    assert_text("pretty", ang_buf_slice(&out), want);
    assert_null(ang_json_parse(type_of("angzarr.CommandBook"), ang_buf_slice(&out), &opts, &back));
    assert_bytes("back", ang_buf_slice(&back), "0a 03 1a 01 'c' 12 00 12 02 08 01");
    ang_buf_clear(&out);
    opts = (struct ang_json_opts){.defaults = true};
    assert_null(ang_json_print(type_of("angzarr.SequenceSet"), ANG_SLICE_NONE, &opts, &out));
    assert_text("defaults", ang_buf_slice(&out), "{\"values\":[]}");
    drop(bytes);
    ang_buf_fini(&out);
    ang_buf_fini(&back);
}

static void assert_error(struct ang_err *er, enum ang_ec code, const char *message) {
    assert_non_null(er);
    assert_int_equal(er->code, code);
    assert_string_equal(er->msg, message);
    ang_err_free(&er);
}

static void test_sizes_are_bounded(void **state) {
    struct ang_slice bytes = bytes_of("0a 14 'aaaaaaaaaaaaaaaaaaaa'");
    struct ang_slice text = ang_slice_str("[1,1,1,1,1,1,1,1]"); /* 17 bytes, and 88 as a message */
    struct ang_json_opts opts = {.max = 22};
    struct ang_buf out = {0};

    assert_null(ang_json_print(type_of("google.protobuf.BytesValue"), ang_slice_of(bytes.p, 0), &opts, &out));
    ang_buf_clear(&out);
    assert_error(ang_json_print(type_of("google.protobuf.BytesValue"), bytes, &opts, &out), ANG_E_TOO_BIG,
                 "google.protobuf.BytesValue: more than 22 bytes of JSON");
    assert_error(ang_json_parse(type_of("google.protobuf.ListValue"), text, &opts, &out), ANG_E_TOO_BIG,
                 "[2]: a message of more than 22 bytes");
    opts.max = 16;
    assert_error(ang_json_print(type_of("google.protobuf.BytesValue"), bytes, &opts, &out), ANG_E_TOO_BIG,
                 "google.protobuf.BytesValue: 22 bytes; at most 16 are read");
    assert_error(ang_json_parse(type_of("google.protobuf.ListValue"), text, &opts, &out), ANG_E_TOO_BIG,
                 "google.protobuf.ListValue: 17 bytes of JSON; at most 16 are read");
    assert_int_equal(out.n, 0);
    drop(bytes);
    ang_buf_fini(&out);
}

/* Pieces within pieces are put together at every level: a message must not take a hundred times its size. */
static void test_pieces_are_bounded(void **state) {
    struct ang_buf message = {0}, list = {0}, out = {0};
    struct ang_json_opts opts = {.max = 20000};
    struct ang_err *er;

    ang_buf_reserve(&list, 8000);
    memset(list.p, 'a', 8000);
    list.n = 8000;
    ang_wire_put_bytes(&message, 3, ang_buf_slice(&list)); /* a Value that is a string */
    for (int i = 0; i < 5; i++) {
        ang_buf_clear(&list);
        ang_wire_put_bytes(&list, 1, ang_buf_slice(&message)); /* in a ListValue */
        ang_buf_clear(&message);
        ang_wire_put_bytes(&message, 6, ang_buf_slice(&list)); /* in a Value, in two pieces */
        ang_wire_put_bytes(&message, 6, ANG_SLICE_NONE);
    }
    er = ang_json_print(type_of("google.protobuf.Value"), ang_buf_slice(&message), &opts, &out);
    assert_error(er, ANG_E_TOO_BIG, "[0][0]: more than 20000 bytes of messages in pieces");
    ang_buf_fini(&message);
    ang_buf_fini(&list);
    ang_buf_fini(&out);
}

static void test_depth_is_bounded(void **state) {
    struct ang_buf text = {0}, out = {0};
    struct ang_err *er;

    for (int i = 0; i < 100000; i++)
        ang_buf_add_u8(&text, '[');
    er = ang_json_parse(type_of("google.protobuf.Value"), ang_buf_slice(&text), NULL, &out);
    assert_error(er, ANG_E_JSON,
                 "line 1, column 210: more objects and lists inside each other than any message may have");
    ang_buf_fini(&text);
    ang_buf_fini(&out);
}

static void test_strings_for_others(void **state) {
    struct ang_buf out = {0};

    ang_json_add_string(&out, ang_slice_str("a\xff\"\xc3\xa9\xe2\x82"));
    assert_text("string", ang_buf_slice(&out), "\"a\xef\xbf\xbd\\\"\xc3\xa9\xef\xbf\xbd\xef\xbf\xbd\"");
    ang_buf_fini(&out);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bytes_are_text_and_text_is_bytes),
        cmocka_unit_test(test_bytes_that_others_write),
        cmocka_unit_test(test_bad_bytes_are_named),
        cmocka_unit_test(test_bad_text_is_named),
        cmocka_unit_test(test_lay_out),
        cmocka_unit_test(test_sizes_are_bounded),
        cmocka_unit_test(test_pieces_are_bounded),
        cmocka_unit_test(test_depth_is_bounded),
        cmocka_unit_test(test_strings_for_others),
    };

    return (cmocka_run_group_tests(tests, NULL, NULL));
}
