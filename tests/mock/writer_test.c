/* How a writer reacts to errors of each of the five requests of a transaction. */
#include "tests/mock/mock.h"
/* cmocka needs the three before it */
/* clang-format off */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
/* clang-format on */

#include <stdlib.h>

#define OK    (-1)
#define EARLY (-2) /* RETIRE when the positions still wait for an answer, UNKNOWN when commit was called already */

/* EITHER: a request on the other connection is cut off by the error, or was answered just before it. */
enum doubt { NO, YES, EITHER };

static const struct row {
    const char *what;
    int16_t api;
    rd_kafka_resp_err_t err;
    int times;
    int cls; /* of the commit that meets it, or OK, or EARLY */
    enum ang_ec code;
    enum doubt doubtful; /* afterwards, though the writer is not over */
} rows[] = {
    {"nothing", 0, RD_KAFKA_RESP_ERR_NO_ERROR, 0, OK, 0, NO},

    {"partitions: fenced", MOCK_ADD_PARTITIONS, RD_KAFKA_RESP_ERR_PRODUCER_FENCED, 1, EARLY, ANG_E_LOG_FENCED, NO},
    {"partitions: old epoch", MOCK_ADD_PARTITIONS, RD_KAFKA_RESP_ERR_INVALID_PRODUCER_EPOCH, 1, EARLY, ANG_E_LOG_FENCED,
     NO},
    {"partitions: state", MOCK_ADD_PARTITIONS, RD_KAFKA_RESP_ERR_INVALID_TXN_STATE, 1, EARLY, ANG_E_LOG_RETIRE, NO},
    {"partitions: the last one still completes", MOCK_ADD_PARTITIONS, RD_KAFKA_RESP_ERR_CONCURRENT_TRANSACTIONS, 3, OK,
     0, NO},
    {"partitions: coordinator loads", MOCK_ADD_PARTITIONS, RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS, 1, OK, 0,
     NO},
    {"partitions: coordinator moved", MOCK_ADD_PARTITIONS, RD_KAFKA_RESP_ERR_NOT_COORDINATOR, 1, OK, 0, EITHER},
    {"partitions: id not mapped", MOCK_ADD_PARTITIONS, RD_KAFKA_RESP_ERR_INVALID_PRODUCER_ID_MAPPING, 1, ANG_ABORT_TXN,
     ANG_E_LOG_ABORTED, EITHER},
    {"partitions: connection lost", MOCK_ADD_PARTITIONS, RD_KAFKA_RESP_ERR__TRANSPORT, 1, OK, 0, YES},

    {"produce: too big for the topic", MOCK_PRODUCE, RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE, 1, ANG_ABORT_TXN,
     ANG_E_TOO_BIG, YES},
    {"produce: no rights", MOCK_PRODUCE, RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED, 1, ANG_FATAL, ANG_E_LOG_AUTH,
     YES},
    {"produce: leader moved", MOCK_PRODUCE, RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION, 1, OK, 0, NO},
    {"produce: too few replicas", MOCK_PRODUCE, RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS, 1, OK, 0, NO},
    {"produce: connection lost", MOCK_PRODUCE, RD_KAFKA_RESP_ERR__TRANSPORT, 1, OK, 0, YES},

    {"offsets: fenced", MOCK_ADD_OFFSETS, RD_KAFKA_RESP_ERR_PRODUCER_FENCED, 1, ANG_RETIRE, ANG_E_LOG_FENCED, NO},
    {"offsets: the last one still completes", MOCK_ADD_OFFSETS, RD_KAFKA_RESP_ERR_CONCURRENT_TRANSACTIONS, 5, OK, 0,
     NO},
    {"offsets: coordinator loads", MOCK_ADD_OFFSETS, RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS, 1, OK, 0, NO},
    {"offsets: no rights", MOCK_ADD_OFFSETS, RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED, 1, ANG_FATAL, ANG_E_LOG_AUTH,
     NO},
    {"offsets: connection lost", MOCK_ADD_OFFSETS, RD_KAFKA_RESP_ERR__TRANSPORT, 1, OK, 0, YES},

    {"group: rebalanced", MOCK_TXN_OFFSET_COMMIT, RD_KAFKA_RESP_ERR_ILLEGAL_GENERATION, 1, ANG_ABORT_TXN,
     ANG_E_LOG_ABORTED, NO},
    {"group: no member any more", MOCK_TXN_OFFSET_COMMIT, RD_KAFKA_RESP_ERR_UNKNOWN_MEMBER_ID, 1, ANG_ABORT_TXN,
     ANG_E_LOG_ABORTED, NO},
    {"group: an older member id of our instance", MOCK_TXN_OFFSET_COMMIT, RD_KAFKA_RESP_ERR_FENCED_INSTANCE_ID, 1,
     ANG_ABORT_TXN, ANG_E_LOG_ABORTED, NO},
    {"group: metadata too long", MOCK_TXN_OFFSET_COMMIT, RD_KAFKA_RESP_ERR_OFFSET_METADATA_TOO_LARGE, 1, ANG_ABORT_TXN,
     ANG_E_TOO_BIG, NO},
    {"group: coordinator loads", MOCK_TXN_OFFSET_COMMIT, RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS, 1, OK, 0, NO},
    {"group: connection lost", MOCK_TXN_OFFSET_COMMIT, RD_KAFKA_RESP_ERR__TRANSPORT, 1, OK, 0, YES},

    {"commit: fenced", MOCK_END_TXN, RD_KAFKA_RESP_ERR_PRODUCER_FENCED, 1, ANG_UNKNOWN, ANG_E_LOG_FENCED, NO},
    {"commit: old epoch", MOCK_END_TXN, RD_KAFKA_RESP_ERR_INVALID_PRODUCER_EPOCH, 1, ANG_UNKNOWN, ANG_E_LOG_FENCED, NO},
    {"commit: state", MOCK_END_TXN, RD_KAFKA_RESP_ERR_INVALID_TXN_STATE, 1, ANG_UNKNOWN, ANG_E_LOG_UNKNOWN, NO},
    {"commit: id not mapped", MOCK_END_TXN, RD_KAFKA_RESP_ERR_INVALID_PRODUCER_ID_MAPPING, 1, ANG_ABORT_TXN,
     ANG_E_LOG_ABORTED, NO},
    {"commit: the last one still completes", MOCK_END_TXN, RD_KAFKA_RESP_ERR_CONCURRENT_TRANSACTIONS, 2, OK, 0, NO},
    {"commit: coordinator loads", MOCK_END_TXN, RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS, 1, OK, 0, NO},
    {"commit: connection lost", MOCK_END_TXN, RD_KAFKA_RESP_ERR__TRANSPORT, 1, OK, 0, YES},
};

static struct ang_log_writer *open_writer(struct mock *m, const char *id) {
    struct ang_log_writer *w = NULL;
    struct ang_err *er = ang_log_writer_open(m->log, id, 10000, &w);
    if (er != NULL)
        fail_msg("%s: %s", id, er->msg);
    return (w);
}

static const char *class_text(int cls) {
    return (cls == OK ? "ok" : cls == EARLY ? "retire or unknown" : ang_class_name((enum ang_class)cls));
}

static bool as_expected(const struct row *r, const struct ang_err *er) {
    if (er == NULL)
        return (r->cls == OK);
    if (r->cls == EARLY)
        return ((er->cls == ANG_RETIRE && er->code == r->code) ||
                (er->cls == ANG_UNKNOWN && (er->code == r->code || er->code == ANG_E_LOG_UNKNOWN)));
    return ((int)er->cls == r->cls && er->code == r->code);
}

static int check(const struct row *r, const struct ang_err *er, const struct ang_log_writer *w) {
    bool over = er != NULL && (er->cls == ANG_RETIRE || er->cls == ANG_UNKNOWN);
    bool doubtful = r->doubtful == YES || over;
    if (as_expected(r, er) && (r->doubtful == EITHER || ang_log_writer_doubtful(w) == doubtful))
        return (0);
    print_error("%s: %s %s%s, expected %s %s%s: %s\n", r->what, class_text(er == NULL ? OK : (int)er->cls),
                er == NULL ? "" : ang_err_name(er->code), ang_log_writer_doubtful(w) ? " doubtful" : "",
                class_text(r->cls), r->cls == OK ? "" : ang_err_name(r->code), doubtful ? " doubtful" : "",
                er == NULL ? "" : er->msg);
    return (1);
}

/* Each error is met by a writer's second transaction.  Afterwards: a writer that is neither dead nor doubtful commits again,
 * and so does one that only became doubtful on the way to success. */
static void each_error_has_its_class(void **state) {
    struct mock m;
    mock_start(&m, NULL);
    int wrong = 0;
    for (size_t i = 0; i < ANG_COUNT(rows); i++) {
        const struct row *r = &rows[i];
        char id[32];
        (void)snprintf(id, sizeof(id), "row-%zu", i);
        struct ang_log_writer *w = open_writer(&m, id);
        struct ang_err *er = mock_commit(&m, w, 1);
        if (er != NULL)
            fail_msg("%s: before: %s", r->what, er->msg);
        assert_false(ang_log_writer_doubtful(w));
        mock_errors(&m, r->api, r->err, r->times);
        er = mock_commit(&m, w, 2);
        wrong += check(r, er, w);
        ang_err_free(&er);
        if (r->cls == OK || ((r->cls == ANG_ABORT_TXN || r->cls == ANG_FATAL) && !ang_log_writer_doubtful(w))) {
            er = mock_commit(&m, w, 3);
            if (er != NULL) {
                print_error("%s: the next transaction: %s\n", r->what, er->msg);
                wrong++;
                ang_err_free(&er);
            }
        }
        rd_kafka_mock_clear_request_errors(m.cluster, r->api);
        ang_log_writer_close(w);
    }
    mock_stop(&m);
    assert_int_equal(wrong, 0);
}

static void be_silent(struct mock *m, int16_t api) {
    for (int32_t b = 1; b <= 3; b++) {
        for (int i = 0; i < 4; i++)
            AZ(rd_kafka_mock_broker_push_request_error_rtts(m->cluster, b, api, 1, RD_KAFKA_RESP_ERR_NO_ERROR, 60000));
    }
}

/* Brokers that do not answer: before the commit nothing can have happened, from then on nobody knows. */
static void silence_is_bounded(void **state) {
    static const struct {
        const char *what;
        int16_t api;
        enum ang_class cls;
    } silent[] = {
        {"offsets", MOCK_ADD_OFFSETS, ANG_RETIRE},
        {"commit", MOCK_END_TXN, ANG_UNKNOWN},
    };
    for (size_t i = 0; i < ANG_COUNT(silent); i++) {
        struct mock m;
        mock_start(&m, "2000");
        struct ang_log_writer *w = open_writer(&m, silent[i].what);
        struct ang_err *er = mock_commit(&m, w, 1);
        assert_null(er);
        be_silent(&m, silent[i].api);
        be_silent(&m, MOCK_END_TXN);
        int64_t start = ang_now_ms();
        er = mock_commit(&m, w, 2);
        int64_t took = ang_now_ms() - start;
        if (er == NULL || er->cls != silent[i].cls)
            fail_msg("%s: %s: %s", silent[i].what, er == NULL ? "ok" : ang_class_name(er->cls),
                     er == NULL ? "" : er->msg);
        assert_true(took >= 1500 && took < 20000);
        assert_true(ang_log_writer_doubtful(w));
        ang_err_free(&er);
        start = ang_now_ms();
        ang_log_writer_close(w);
        assert_true(ang_now_ms() - start < 5000);
        mock_stop(&m);
    }
}

/* What is wrong with a batch itself is found before anything is sent. */
static void bad_batches_begin_nothing(void **state) {
    struct mock m;
    mock_start(&m, NULL);
    struct ang_log_writer *w = open_writer(&m, "bad");
    char *big = ang_calloc(1, 2 * 1024 * 1024);
    const struct {
        struct ang_out rec;
        enum ang_ec code;
    } bad[] = {
        {{.topic = m.out, .partition = 4, .key = ang_slice_str("k")}, ANG_E_LOG_TOPIC},
        {{.topic = m.out, .partition = -1, .key = ang_slice_str("k")}, ANG_E_LOG_TOPIC},
        {{.topic = ang_log_topic(m.log, "unseen"), .partition = 0, .key = ang_slice_str("k")}, ANG_E_LOG_TOPIC},
        {{.topic = m.out, .partition = 0, .value = ang_slice_of(big, 2 * 1024 * 1024)}, ANG_E_TOO_BIG},
    };
    for (size_t i = 0; i < ANG_COUNT(bad); i++) {
        struct ang_out recs[] = {{.topic = m.out, .key = ang_slice_str("good")}, bad[i].rec};
        const struct ang_pos pos = {m.in, 0, 1, ANG_SLICE_NONE};
        const struct ang_batch batch = {recs, 2, &pos, 1, m.token};
        struct ang_err *er = ang_log_writer_commit(w, &batch);
        assert_non_null(er);
        assert_int_equal(er->code, bad[i].code);
        assert_int_equal(er->cls, ANG_ABORT_TXN);
        ang_err_free(&er);
        er = mock_commit(&m, w, 1);
        assert_null(er);
    }
    free(big);
    ang_log_writer_close(w);
    mock_stop(&m);
}

static void opening_reports_what_will_not_pass(void **state) {
    struct mock m;
    mock_start(&m, NULL);
    struct ang_log_writer *w = NULL;
    mock_errors(&m, MOCK_INIT_PRODUCER_ID, RD_KAFKA_RESP_ERR_TRANSACTIONAL_ID_AUTHORIZATION_FAILED, 1);
    struct ang_err *er = ang_log_writer_open(m.log, "none", 10000, &w);
    assert_non_null(er);
    assert_int_equal(er->code, ANG_E_LOG_AUTH);
    assert_non_null(strstr(er->msg, "none"));
    ang_err_free(&er);
    mock_errors(&m, MOCK_INIT_PRODUCER_ID, RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS, 2);
    er = ang_log_writer_open(m.log, "some", 10000, &w);
    assert_null(er);
    ang_log_writer_close(w);
    mock_stop(&m);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_error_has_its_class),
        cmocka_unit_test(silence_is_bounded),
        cmocka_unit_test(bad_batches_begin_nothing),
        cmocka_unit_test(opening_reports_what_will_not_pass),
    };
    return (cmocka_run_group_tests(tests, NULL, NULL));
}
