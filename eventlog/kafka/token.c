/* Tokens: group metadata that proves full membership.
 *
 * The broker takes a transactional offset commit with a negative generation, no member id and no instance id even for a
 * living group, which would commit unfenced.  librdkafka 2.0.2 has no getter for them, so the serialised form is read, and
 * whether it has the form we know is checked at start. */
#include <stdlib.h>

#include "eventlog/kafka/kafka_priv.h"

#define FORMAT "CGMDv2:" /* then: int32 generation in host order, group\0, member\0, instance */

bool ang_kafka_token_parse(const void *buf, size_t n, int32_t *ret_generation, const char **ret_member) {
    const char *p = buf;
    size_t head = strlen(FORMAT);
    if (n < head + sizeof(int32_t) || memcmp(p, FORMAT, head) != 0)
        return (false);
    int32_t generation;
    memcpy(&generation, p + head, sizeof(generation));
    const char *end = p + n;
    const char *group = p + head + sizeof(generation);
    const char *group_end = memchr(group, '\0', (size_t)(end - group));
    if (group_end == NULL)
        return (false);
    const char *member = group_end + 1;
    if (member >= end || memchr(member, '\0', (size_t)(end - member)) == NULL)
        return (false);
    *ret_generation = generation;
    *ret_member = member;
    return (true);
}

/* What librdkafka serialises; mem must be freed with free(). */
static struct ang_err *read_meta(const rd_kafka_consumer_group_metadata_t *meta, void **ret_mem,
                                 int32_t *ret_generation, const char **ret_member) {
    void *mem;
    size_t n;
    rd_kafka_error_t *ke = rd_kafka_consumer_group_metadata_write(meta, &mem, &n);
    if (ke != NULL)
        return (ang_kafka_err_take(NULL, &ke, ANG_FATAL, "reading the group's metadata"));
    if (!ang_kafka_token_parse(mem, n, ret_generation, ret_member)) {
        rd_kafka_mem_free(NULL, mem);
        return (ang_err_new(ANG_E_INTERNAL,
                            "librdkafka %s writes group metadata in a form that is not known here: use 2.0.2 to 2.8",
                            rd_kafka_version_str()));
    }
    *ret_mem = mem;
    return (NULL);
}

struct ang_err *ang_kafka_token_check_format(void) {
    rd_kafka_consumer_group_metadata_t *meta =
        rd_kafka_consumer_group_metadata_new_with_genid("group", 7, "member", "instance");
    void *mem;
    int32_t generation;
    const char *member;
    struct ang_err *er = read_meta(meta, &mem, &generation, &member);
    if (er == NULL) {
        if (generation != 7 || strcmp(member, "member") != 0)
            er = ang_err_new(ANG_E_INTERNAL,
                             "librdkafka %s: generation and member id were read back wrong: use 2.0.2 to 2.8",
                             rd_kafka_version_str());
        rd_kafka_mem_free(NULL, mem);
    }
    rd_kafka_consumer_group_metadata_destroy(meta);
    return (er);
}

struct ang_err *ang_kafka_token_new(const struct ang_log_ops *ops, rd_kafka_consumer_group_metadata_t **meta,
                                    struct ang_log_token **ret_token) {
    void *mem;
    int32_t generation = -1;
    const char *member;
    struct ang_err *er = read_meta(*meta, &mem, &generation, &member);
    if (er == NULL) {
        if (generation < 0 || *member == '\0')
            er = ang_err_new_cls(ANG_E_LOG_ABORTED, ANG_RETRY, "not a member of the group at the moment");
        rd_kafka_mem_free(NULL, mem);
    }
    if (er != NULL) {
        rd_kafka_consumer_group_metadata_destroy(*meta);
        *meta = NULL;
        return (er);
    }
    struct ang_kafka_token *t = ANG_NEW(struct ang_kafka_token);
    t->t.magic = ANG_LOG_TOKEN_MAGIC;
    t->t.ops = ops;
    t->t.refs = 1;
    t->t.generation = generation;
    t->meta = *meta;
    *meta = NULL;
    *ret_token = &t->t;
    return (NULL);
}

void ang_kafka_token_free(struct ang_log_token *token) {
    struct ang_kafka_token *t = (struct ang_kafka_token *)(void *)token;
    rd_kafka_consumer_group_metadata_destroy(t->meta);
    t->t.magic = 0;
    free(t);
}
