/* What the .proto files say about the messages of a frame, as tables: the source of every check in walk.c.
 * shapes_test.c compares each row with the generated descriptors, so a table cannot drift from its message. */
#include "proto/walk_priv.h"

#define SHAPE(var, label, ...)                                                                                         \
    static const struct row var##_rows[] = {__VA_ARGS__};                                                              \
    const struct shape var = {label, var##_rows, ANG_COUNT(var##_rows)}

#define VALUE(n, k, g)                                                                                                 \
    { .name = (n), .kind = (k), .group = (g) }
#define VALUES(n, k)                                                                                                   \
    { .name = (n), .kind = (k), .repeated = true }
#define MESSAGE(n, s, g)                                                                                               \
    { .name = (n), .kind = K_MESSAGE, .group = (g), .sub = &(s) }
#define MESSAGES(n, s)                                                                                                 \
    { .name = (n), .kind = K_MESSAGE, .repeated = true, .sub = &(s) }

SHAPE(shape_uuid, "UUID", [1] = VALUE("value", K_BYTES, 0));

SHAPE(shape_divergence, "DomainDivergence", [1] = VALUE("domain", K_STRING, 0), [2] = VALUE("sequence", K_UINT32, 0));
SHAPE(shape_edition, "Edition", [1] = VALUE("name", K_STRING, 0), [2] = MESSAGES("divergences", shape_divergence));
SHAPE(shape_cover, "Cover", [1] = MESSAGE("root", shape_uuid, 0), [2] = VALUE("domain", K_STRING, 0),
      [3] = VALUE("correlation_id", K_STRING, 0), [4] = MESSAGE("edition", shape_edition, 0));

SHAPE(shape_timestamp, "Timestamp", [1] = VALUE("seconds", K_INT64, 0), [2] = VALUE("nanos", K_INT32, 0));
SHAPE(shape_any, "Any", [1] = VALUE("type_url", K_STRING, 0), [2] = VALUE("value", K_BYTES, 0));

#define PAGE_NUMBER (1u << 1 | 1u << 2)
SHAPE(shape_event_page,
      "EventPage", [1] = VALUE("num", K_UINT32, PAGE_NUMBER), [2] = VALUE("force", K_BOOL, PAGE_NUMBER),
      [3] = MESSAGE("created_at", shape_timestamp, 0), [4] = MESSAGE("event", shape_any, 0));
SHAPE(shape_snapshot, "Snapshot", [2] = VALUE("sequence", K_UINT32, 0), [3] = MESSAGE("state", shape_any, 0));
SHAPE(shape_event_book, "EventBook", [1] = MESSAGE("cover", shape_cover, 0),
      [2] = MESSAGE("snapshot", shape_snapshot, 0), [3] = MESSAGES("pages", shape_event_page),
      [5] = MESSAGE("snapshot_state", shape_any, 0), [6] = VALUE("next_sequence", K_UINT32, 0));

SHAPE(shape_saga_origin, "SagaCommandOrigin", [1] = VALUE("saga_name", K_STRING, 0),
      [2] = MESSAGE("triggering_aggregate", shape_cover, 0), [3] = VALUE("triggering_event_sequence", K_UINT32, 0));
SHAPE(shape_command_page, "CommandPage", [1] = VALUE("sequence", K_UINT32, 0), [3] = MESSAGE("command", shape_any, 0));
SHAPE(shape_command_book, "CommandBook", [1] = MESSAGE("cover", shape_cover, 0),
      [2] = MESSAGES("pages", shape_command_page), [4] = MESSAGE("saga_origin", shape_saga_origin, 0));

SHAPE(shape_sync_command,
      "SyncCommandBook", [1] = MESSAGE("command", shape_command_book, 0), [2] = VALUE("sync_mode", K_INT32, 0));
SHAPE(shape_stream_count,
      "ExecuteStreamCountRequest", [1] = MESSAGE("command", shape_command_book, 0), [2] = VALUE("count", K_INT32, 0));
SHAPE(
    shape_stream_time,
    "ExecuteStreamTimeRequest", [1] = MESSAGE("command", shape_command_book, 0), [2] = VALUE("timeout_ms", K_INT32, 0));

SHAPE(shape_follow, "FollowRequest", [1] = VALUE("domain", K_STRING, 0), [2] = MESSAGE("root", shape_uuid, 0),
      [3] = VALUE("correlation_id", K_STRING, 0), [4] = VALUE("edition", K_STRING, 0));

#define ANSWER (1u << 1 | 1u << 2)
SHAPE(shape_revocation, "RevocationResponse", [1] = VALUE("emit_system_revocation", K_BOOL, 0),
      [2] = VALUE("send_to_dead_letter_queue", K_BOOL, 0), [3] = VALUE("escalate", K_BOOL, 0),
      [4] = VALUE("abort", K_BOOL, 0), [5] = VALUE("reason", K_STRING, 0));
SHAPE(shape_business_response, "BusinessResponse", [1] = MESSAGE("events", shape_event_book, ANSWER),
      [2] = MESSAGE("revocation", shape_revocation, ANSWER));

#define MOMENT    (1u << 1 | 1u << 2)
#define SELECTION (1u << 3 | 1u << 4 | 1u << 5)
SHAPE(shape_range, "SequenceRange", [1] = VALUE("lower", K_UINT32, 0), [2] = VALUE("upper", K_UINT32, 0));
SHAPE(shape_sequences, "SequenceSet", [1] = VALUES("values", K_UINT32));
SHAPE(shape_temporal, "TemporalQuery", [1] = MESSAGE("as_of_time", shape_timestamp, MOMENT),
      [2] = VALUE("as_of_sequence", K_UINT32, MOMENT));
SHAPE(shape_query, "Query", [1] = MESSAGE("cover", shape_cover, 0), [3] = MESSAGE("range", shape_range, SELECTION),
      [4] = MESSAGE("sequences", shape_sequences, SELECTION), [5] = MESSAGE("temporal", shape_temporal, SELECTION));
