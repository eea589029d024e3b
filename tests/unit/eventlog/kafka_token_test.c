/* A token is only ever made of the metadata of a full member. */
#include "eventlog/kafka/kafka_priv.h"
/* cmocka needs the three before it */
/* clang-format off */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
/* clang-format on */

#include <stdlib.h>

static void only_full_members_get_one(void **state) {
    static const struct {
        const char *what;
        int32_t generation;
        const char *member;
        bool ok;
    } rows[] = {
        {"a member", 7, "m-1", true},
        {"the first generation", 0, "m-1", true},
        {"not joined yet", -1, "", false},
        {"after ILLEGAL_GENERATION", -1, "m-1", false},
        {"after the session ended", 7, "", false},
    };
    const struct ang_log_ops ops = {.token_free = ang_kafka_token_free};
    for (size_t i = 0; i < ANG_COUNT(rows); i++) {
        rd_kafka_consumer_group_metadata_t *meta =
            rd_kafka_consumer_group_metadata_new_with_genid("g", rows[i].generation, rows[i].member, "instance");
        struct ang_log_token *t = NULL;
        struct ang_err *er = ang_kafka_token_new(&ops, &meta, &t);
        assert_null(meta);
        if ((er == NULL) != rows[i].ok)
            fail_msg("%s: %s", rows[i].what, er == NULL ? "got a token" : er->msg);
        if (er == NULL) {
            assert_int_equal(ang_log_token_generation(t), rows[i].generation);
            ang_log_token_unref(t);
        } else {
            assert_int_equal(er->cls, ANG_RETRY);
            ang_err_free(&er);
        }
    }
}

static void foreign_forms_are_not_read(void **state) {
    static const struct {
        const char *what, *bytes;
        size_t n;
        bool ok;
    } rows[] = {
        {"as 2.0.2 writes it", "CGMDv2:\x05\0\0\0g\0m\0\1", 16, true},
        {"another version", "CGMDv3:\x05\0\0\0g\0m\0\1", 16, false},
        {"empty", "", 0, false},
        {"only the mark", "CGMDv2:", 7, false},
        {"half a generation", "CGMDv2:\x05\0", 9, false},
        {"a group without its end", "CGMDv2:\x05\0\0\0g", 12, false},
        {"no member", "CGMDv2:\x05\0\0\0g\0", 13, false},
        {"a member without its end", "CGMDv2:\x05\0\0\0g\0m", 14, false},
    };
    for (size_t i = 0; i < ANG_COUNT(rows); i++) {
        /* An exact copy on the heap, so that reading past the end is seen. */
        char *bytes = ang_malloc(rows[i].n > 0 ? rows[i].n : 1);
        memcpy(bytes, rows[i].bytes, rows[i].n);
        int32_t generation = -2;
        const char *member = NULL;
        if (ang_kafka_token_parse(bytes, rows[i].n, &generation, &member) != rows[i].ok)
            fail_msg("%s: %s", rows[i].what, rows[i].ok ? "refused" : "read");
        if (rows[i].ok) {
            assert_int_equal(generation, 5);
            assert_string_equal(member, "m");
        }
        free(bytes);
    }
}

static void the_installed_librdkafka_writes_the_known_form(void **state) {
    struct ang_err *er = ang_kafka_token_check_format();
    assert_null(er);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_full_members_get_one),
        cmocka_unit_test(foreign_forms_are_not_read),
        cmocka_unit_test(the_installed_librdkafka_writes_the_known_form),
    };
    return (cmocka_run_group_tests(tests, NULL, NULL));
}
