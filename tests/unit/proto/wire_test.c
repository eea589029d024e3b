#include "test.h"

static const struct {
    const char *what, *bytes;
    uint32_t number;
    enum ang_wire_type type;
    uint64_t value;
    const char *payload;
} good[] = {
    {"smallest varint", "08 00", 1, ANG_WIRE_VARINT, 0, NULL},
    {"two bytes of varint", "08 96 01", 1, ANG_WIRE_VARINT, 150, NULL},
    {"largest varint", "08 ff ff ff ff ff ff ff ff ff 01", 1, ANG_WIRE_VARINT, UINT64_MAX, NULL},
    {"longer than needed", "08 80 80 00", 1, ANG_WIRE_VARINT, 0, NULL},
    {"largest field number", "f8 ff ff ff 0f 01", 536870911, ANG_WIRE_VARINT, 1, NULL},
    {"tag longer than needed", "88 80 80 80 00 01", 1, ANG_WIRE_VARINT, 1, NULL},
    {"fixed64", "09 01 02 03 04 05 06 07 08", 1, ANG_WIRE_FIXED64, UINT64_C(0x0807060504030201), NULL},
    {"fixed32", "0d 01 02 03 84", 1, ANG_WIRE_FIXED32, 0x84030201, NULL},
    {"bytes", "12 02 'hi'", 2, ANG_WIRE_BYTES, 2, "'hi'"},
    {"no bytes", "12 00", 2, ANG_WIRE_BYTES, 0, ""},
    {"length longer than needed", "12 82 80 80 80 00 'hi'", 2, ANG_WIRE_BYTES, 2, "'hi'"},
};

static void a_field_is_read(void **state) {
    for (size_t i = 0; i < ANG_COUNT(good); i++) {
        struct ang_slice s = bytes_of(good[i].bytes);
        struct ang_wire_iter it = ang_wire_iter_of(s);
        struct ang_wire_field f;

        if (!ang_wire_next(&it, &f))
            fail_msg("%s: %s", good[i].what, it.what == NULL ? "no field" : it.what);
        assert_int_equal(f.number, good[i].number);
        assert_int_equal(f.type, good[i].type);
        assert_true(f.value == good[i].value);
        assert_true(ang_slice_eq(f.raw, s));
        if (good[i].payload != NULL) {
            assert_non_null(f.bytes.p);
            assert_bytes(good[i].what, f.bytes, good[i].payload);
        }
        assert_false(ang_wire_next(&it, &f));
        assert_null(it.what);
        drop(s);
    }
}

static const struct {
    const char *what, *bytes, *says;
} bad[] = {
    {"tag cut off", "88", "truncated varint"},
    {"value missing", "08", "truncated varint"},
    {"value cut off", "08 80 80", "truncated varint"},
    {"eleven bytes", "08 80 80 80 80 80 80 80 80 80 80 01", "varint of more than 64 bits"},
    {"tenth byte too large", "08 ff ff ff ff ff ff ff ff ff 02", "varint of more than 64 bits"},
    {"tag of six bytes", "88 80 80 80 80 00 01", "tag of more than 32 bits"},
    {"tag above 32 bits", "88 80 80 80 10 01", "tag of more than 32 bits"},
    {"field number 0", "00 00", "field number 0"},
    {"field number 0 in a long tag", "80 00 00", "field number 0"},
    {"group begins", "0b 0c", "group"},
    {"group ends", "0c", "group"},
    {"wire type 6", "0e 00", "unknown wire type"},
    {"wire type 7", "0f 00", "unknown wire type"},
    {"length past the end", "12 03 'hi'", "length past the end"},
    {"length missing", "12", "truncated varint"},
    {"length of six bytes", "12 82 80 80 80 80 00 'hi'", "length of more than 31 bits"},
    {"length above 31 bits", "12 80 80 80 80 08", "length of more than 31 bits"},
    {"length of 64 bits", "12 ff ff ff ff ff ff ff ff ff 01", "length of more than 31 bits"},
    {"fixed64 cut off", "09 01 02 03 04 05 06 07", "truncated fixed-size value"},
    {"fixed32 cut off", "0d 01 02 03", "truncated fixed-size value"},
};

static void bad_bytes_are_named(void **state) {
    for (size_t i = 0; i < ANG_COUNT(bad); i++) {
        struct ang_slice s = bytes_of(bad[i].bytes);
        struct ang_wire_iter it = ang_wire_iter_of(s);
        struct ang_wire_field f;

        if (ang_wire_next(&it, &f))
            fail_msg("%s: accepted", bad[i].what);
        assert_non_null(it.what);
        assert_string_equal(it.what, bad[i].says);
        assert_ptr_equal(it.p, s.p);
        assert_false(ang_wire_next(&it, &f));
        drop(s);
    }
}

static void an_empty_message_has_no_field(void **state) {
    struct ang_wire_iter it = ang_wire_iter_of(ANG_SLICE_NONE);
    struct ang_wire_field f;

    assert_false(ang_wire_next(&it, &f));
    assert_null(it.what);
}

static void the_first_field_of_a_number_is_found(void **state) {
    struct ang_slice s = bytes_of("08 01 12 01 'a' 12 01 'b'");
    struct ang_wire_field f;

    assert_true(ang_wire_find(s, 2, &f));
    assert_bytes("found", f.bytes, "'a'");
    assert_false(ang_wire_find(s, 3, &f));
    drop(s);
}

static void what_is_written_is_read(void **state) {
    static const uint64_t values[] = {0,
                                      1,
                                      127,
                                      128,
                                      16383,
                                      16384,
                                      UINT32_MAX,
                                      (uint64_t)UINT32_MAX + 1,
                                      UINT64_C(1) << 62,
                                      UINT64_C(1) << 63,
                                      UINT64_MAX};
    static const uint32_t numbers[] = {1, 15, 16, 2047, 2048, 536870911};

    for (size_t i = 0; i < ANG_COUNT(values); i++)
        for (size_t j = 0; j < ANG_COUNT(numbers); j++) {
            struct ang_buf b = {0};
            struct ang_wire_iter it;
            struct ang_wire_field f;

            ang_wire_put_uint(&b, numbers[j], values[i]);
            assert_int_equal(b.n, ang_wire_len_uint(numbers[j], values[i]));
            it = ang_wire_iter_of(ang_buf_slice(&b));
            assert_true(ang_wire_next(&it, &f));
            assert_int_equal(f.number, numbers[j]);
            assert_true(f.value == values[i]);
            ang_buf_fini(&b);
        }
}

static void every_size_is_what_is_written(void **state) {
    for (unsigned bit = 0; bit < 64; bit++)
        for (int d = -1; d <= 1; d++) {
            uint64_t v = (UINT64_C(1) << bit) + (uint64_t)(int64_t)d;
            struct ang_buf b = {0};

            ang_wire_put_varint(&b, v);
            assert_int_equal(b.n, ang_wire_len_varint(v));
            ang_buf_fini(&b);
        }
}

static void each_writer_writes_its_form(void **state) {
    struct ang_buf b = {0};

    ang_wire_put_int(&b, 1, -1);
    ang_wire_put_fixed32(&b, 2, 0x01020304);
    ang_wire_put_fixed64(&b, 3, 5);
    ang_wire_put_str(&b, 4, "hi");
    ang_wire_put_bytes(&b, 5, ANG_SLICE_NONE);
    ang_wire_put_header(&b, 6, 300);
    assert_bytes("all", ang_buf_slice(&b),
                 "08 ff ff ff ff ff ff ff ff ff 01 15 04 03 02 01 19 05 00 00 00 00 00 00 00"
                 "22 02 'hi' 2a 00 32 ac 02");
    ang_buf_clear(&b);
    ang_wire_put_timestamp(&b, 3, 1, 0);
    ang_wire_put_timestamp(&b, 3, -1, 7);
    ang_wire_put_timestamp(&b, 3, 0, 0);
    assert_int_equal(b.n, ang_wire_len_timestamp(3, 1, 0) + ang_wire_len_timestamp(3, -1, 7) +
                              ang_wire_len_timestamp(3, 0, 0));
    assert_bytes("timestamps", ang_buf_slice(&b), "1a 02 08 01 1a 0d 08 ff ff ff ff ff ff ff ff ff 01 10 07 1a 00");
    ang_buf_clear(&b);
    ang_wire_put_any(&b, 4, ang_slice_str("a/B"), ang_slice_str("x"));
    ang_wire_put_any(&b, 4, ANG_SLICE_NONE, ANG_SLICE_NONE);
    assert_bytes("anys", ang_buf_slice(&b), "22 08 0a 03 'a/B' 12 01 'x' 22 00");
    ang_buf_fini(&b);
}

static const struct {
    const char *url, *name;
} names[] = {
    {"type.googleapis.com/a.B", "a.B"}, {"a.B", "a.B"}, {"", ""}, {"x/y/a.B", "a.B"}, {"x/", ""}, {"/a.B", "a.B"}};

static void the_type_is_what_follows_the_last_slash(void **state) {
    for (size_t i = 0; i < ANG_COUNT(names); i++)
        assert_true(ang_slice_is(ang_wire_type_name(ang_slice_str(names[i].url)), names[i].name));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_field_is_read),
        cmocka_unit_test(bad_bytes_are_named),
        cmocka_unit_test(an_empty_message_has_no_field),
        cmocka_unit_test(the_first_field_of_a_number_is_found),
        cmocka_unit_test(what_is_written_is_read),
        cmocka_unit_test(every_size_is_what_is_written),
        cmocka_unit_test(each_writer_writes_its_form),
        cmocka_unit_test(the_type_is_what_follows_the_last_slash),
    };
    return (cmocka_run_group_tests(tests, NULL, NULL));
}
