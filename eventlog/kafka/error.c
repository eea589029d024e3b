/* The only place that reads librdkafka's error codes.
 *
 * For a writer the same error means different things at different calls: before EndTxn(commit) was sent nothing can be
 * visible; after it, nobody knows until the next holder of the id has initialised.  That is the table below. */
#include "eventlog/kafka/kafka_priv.h"

static const enum ang_class classes[][4] = {
    /*                     FATAL         ABORT          TIMED_OUT      OTHER */
    [ANG_STEP_INIT] = {ANG_RETIRE, ANG_RETIRE, ANG_RETRY, ANG_RETIRE},
    [ANG_STEP_BEGIN] = {ANG_RETIRE, ANG_RETIRE, ANG_RETIRE, ANG_RETIRE},
    [ANG_STEP_PRODUCE] = {ANG_RETIRE, ANG_ABORT_TXN, ANG_ABORT_TXN, ANG_ABORT_TXN},
    [ANG_STEP_OFFSETS] = {ANG_RETIRE, ANG_ABORT_TXN, ANG_ABORT_TXN, ANG_RETIRE},
    [ANG_STEP_COMMIT] = {ANG_UNKNOWN, ANG_ABORT_TXN, ANG_UNKNOWN, ANG_UNKNOWN},
    [ANG_STEP_ABORT] = {ANG_RETIRE, ANG_RETIRE, ANG_RETIRE, ANG_RETIRE},
};

enum ang_kafka_kind ang_kafka_kind(const rd_kafka_error_t *ke) {
    /* A producer that was fenced is dead, though librdkafka 2.0.2 calls it abortable when AddOffsetsToTxn says so. */
    if (rd_kafka_error_is_fatal(ke) || ang_kafka_is_fenced(rd_kafka_error_code(ke)))
        return (ANG_KIND_FATAL);
    if (rd_kafka_error_txn_requires_abort(ke))
        return (ANG_KIND_ABORT);
    return (rd_kafka_error_is_retriable(ke) ? ANG_KIND_TIMED_OUT : ANG_KIND_OTHER);
}

enum ang_class ang_kafka_class(enum ang_kafka_step step, enum ang_kafka_kind kind) {
    return (classes[step][kind]);
}

bool ang_kafka_is_auth(rd_kafka_resp_err_t code) {
    switch ((int)code) {
    case RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED:
    case RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED:
    case RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED:
    case RD_KAFKA_RESP_ERR_TRANSACTIONAL_ID_AUTHORIZATION_FAILED:
    case RD_KAFKA_RESP_ERR_SASL_AUTHENTICATION_FAILED:
    case RD_KAFKA_RESP_ERR__AUTHENTICATION:
        return (true);
    }
    return (false);
}

bool ang_kafka_is_fenced(rd_kafka_resp_err_t code) {
    switch ((int)code) {
    case RD_KAFKA_RESP_ERR__FENCED:
    case RD_KAFKA_RESP_ERR_PRODUCER_FENCED:
    case RD_KAFKA_RESP_ERR_INVALID_PRODUCER_EPOCH:
        return (true);
    }
    return (false);
}

bool ang_kafka_transient(rd_kafka_resp_err_t code) {
    switch ((int)code) {
    case RD_KAFKA_RESP_ERR__TIMED_OUT:
    case RD_KAFKA_RESP_ERR__TIMED_OUT_QUEUE:
    case RD_KAFKA_RESP_ERR__TRANSPORT:
    case RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN:
    case RD_KAFKA_RESP_ERR__RESOLVE:
    case RD_KAFKA_RESP_ERR__WAIT_COORD:
    case RD_KAFKA_RESP_ERR__RETRY:
    case RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS:
    case RD_KAFKA_RESP_ERR_COORDINATOR_NOT_AVAILABLE:
    case RD_KAFKA_RESP_ERR_NOT_COORDINATOR:
    case RD_KAFKA_RESP_ERR_NOT_CONTROLLER:
    case RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT:
    case RD_KAFKA_RESP_ERR_NETWORK_EXCEPTION:
    case RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE:
    case RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION:
    case RD_KAFKA_RESP_ERR_BROKER_NOT_AVAILABLE:
    case RD_KAFKA_RESP_ERR_REPLICA_NOT_AVAILABLE:
    case RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS:
    case RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS_AFTER_APPEND:
    case RD_KAFKA_RESP_ERR_KAFKA_STORAGE_ERROR:
    case RD_KAFKA_RESP_ERR_UNSTABLE_OFFSET_COMMIT:
    case RD_KAFKA_RESP_ERR_THROTTLING_QUOTA_EXCEEDED:
        return (true);
    }
    return (false);
}

static enum ang_ec code_of(rd_kafka_resp_err_t code, enum ang_class cls) {
    if (ang_kafka_is_fenced(code))
        return (ANG_E_LOG_FENCED);
    switch ((int)code) {
    case RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE:
    case RD_KAFKA_RESP_ERR_RECORD_LIST_TOO_LARGE:
    case RD_KAFKA_RESP_ERR_OFFSET_METADATA_TOO_LARGE:
        return (ANG_E_TOO_BIG);
    case RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART:
    case RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC:
    case RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION:
        return (ANG_E_LOG_TOPIC);
    case RD_KAFKA_RESP_ERR__BAD_MSG:
    case RD_KAFKA_RESP_ERR_INVALID_MSG:
        return (ANG_E_LOG_IO);
    }
    switch (cls) {
    case ANG_RETRY:
        return (ANG_E_LOG_UNREACHABLE);
    case ANG_ABORT_TXN:
        return (ANG_E_LOG_ABORTED);
    case ANG_UNKNOWN:
        return (ANG_E_LOG_UNKNOWN);
    case ANG_RETIRE:
        return (ANG_E_LOG_RETIRE);
    case ANG_BAD_INPUT:
        return (ANG_E_INVALID);
    case ANG_FATAL:
        break;
    }
    return (ANG_E_LOG_IO);
}

struct ang_err *ang_kafka_err(rd_kafka_t *rk, rd_kafka_resp_err_t code, const char *text, enum ang_class cls,
                              const char *what) {
    char fatal[512];
    if (rk != NULL && (code == RD_KAFKA_RESP_ERR__FATAL || text == NULL)) {
        rd_kafka_resp_err_t under = rd_kafka_fatal_error(rk, fatal, sizeof(fatal));
        if (under != RD_KAFKA_RESP_ERR_NO_ERROR) {
            code = under;
            text = fatal;
        }
    }
    if (text == NULL)
        text = rd_kafka_err2str(code);
    /* Missing rights do not come back by themselves, but a commit whose answer was a refusal is unknown all the same. */
    if (ang_kafka_is_auth(code))
        return (ang_err_new_cls(ANG_E_LOG_AUTH, cls == ANG_UNKNOWN ? cls : ANG_FATAL, "%s: %s (%s)", what, text,
                                rd_kafka_err2name(code)));
    return (ang_err_new_cls(code_of(code, cls), cls, "%s: %s (%s)", what, text, rd_kafka_err2name(code)));
}

struct ang_err *ang_kafka_err_take(rd_kafka_t *rk, rd_kafka_error_t **ke, enum ang_class cls, const char *what) {
    struct ang_err *er = ang_kafka_err(rk, rd_kafka_error_code(*ke), rd_kafka_error_string(*ke), cls, what);
    rd_kafka_error_destroy(*ke);
    *ke = NULL;
    return (er);
}
