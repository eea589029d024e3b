/* Every metric, one row each: /metrics and docs/metrics.md come from here.
 *
 * ANG_METRIC_LABEL(name, values, help)      values: all there can be, in the order of the code that uses them; NULL: named at start
 * ANG_METRIC_GROUP(title, help)             opens a group; its rows follow
 * ANG_METRIC(id, kind, name, unit, labels, buckets, roles, help, bad)
 *
 * kind     COUNTER, GAUGE, HISTOGRAM
 * unit     COUNT, BYTES, SECONDS (kept in microseconds), RATIO (kept in millionths); the name ends accordingly (checked by a test)
 * labels   BY(…), names of labels; ALONE
 * buckets  of a histogram: TIMES, LONG_TIMES, NUMBERS, SIZES; else NONE
 * roles    EVERYWHERE, WORKER (aggregate, standalone), GATEWAY (gateway, standalone), WORKERLESS (gateway, stream)
 * bad      what to do when it looks bad; "": nothing by itself */

ANG_METRIC_LABEL("domain", NULL, "a domain of `business_logic`; `-`: the call named none of them")
ANG_METRIC_LABEL("code",
                 "OK,CANCELLED,UNKNOWN,INVALID_ARGUMENT,DEADLINE_EXCEEDED,NOT_FOUND,ALREADY_EXISTS,PERMISSION_DENIED,RESOURCE_EXHAUSTED,"
                 "FAILED_PRECONDITION,ABORTED,OUT_OF_RANGE,UNIMPLEMENTED,INTERNAL,UNAVAILABLE,DATA_LOSS,UNAUTHENTICATED",
                 "the name of a gRPC status. Of a histogram, statuses other than `OK` appear when they happen first")
ANG_METRIC_LABEL("method", NULL, "a method that the process serves")
ANG_METRIC_LABEL("partition", NULL, "number of a partition; there is a series for those that are ours")
ANG_METRIC_LABEL("lane", NULL, "number of a lane (`worker.lanes`); 0 when there is one")
ANG_METRIC_LABEL("input", "commands,reactions", "the topic")
ANG_METRIC_LABEL("phase", "taking-over,restoring,serving,aside", "as in [health.md](health.md)")
ANG_METRIC_LABEL("reason", "unreadable,invalid,misrouted,expired,unavailable,revoked,unwritable",
                 "why a record was put into the dead-letter topic: no CommandBook; not one for this domain; in the wrong partition once more; "
                 "not run within its time to live; the business logic was not available for as long; the business logic asked for it; the "
                 "log does not take its outcome")
ANG_METRIC_LABEL("class", "retry,abort-txn,unknown,retire,bad-input,fatal", "as in [errors.md](errors.md)")
ANG_METRIC_LABEL("speed", "usual,slow", "slow: longer than `limits.slow_after`, and far longer than usual")
ANG_METRIC_LABEL("result", "done,failed", "")
ANG_METRIC_LABEL("share", "histories,records,calls,store-cache,store-memtables",
                 "a part of `state.memory`: histories of roots at rest; records that are open; what calls under way take; blocks of the "
                 "store; its rows that are not in files yet")
ANG_METRIC_LABEL("level", "error,warn", "of a log line")
ANG_METRIC_LABEL("id", NULL, "of a log line; one that did not happen yet has no series")
ANG_METRIC_LABEL("version", NULL, "of the program")
ANG_METRIC_LABEL("role", NULL, "`standalone`, `aggregate`, `gateway` or `stream`")
ANG_METRIC_LABEL("log", NULL, "`embedded` or `kafka`")

ANG_METRIC_GROUP("The process", "Whether it is there and ready, what it takes, and what it complains of.")
ANG_METRIC(BUILD_INFO, GAUGE, "angzarr_build_info", COUNT, BY("version", "role", "log"), NONE, EVERYWHERE,
           "Always 1; what runs is in the labels", "Several versions for longer than an upgrade takes: finish it.")
ANG_METRIC(READY, GAUGE, "angzarr_ready", COUNT, ALONE, NONE, EVERYWHERE, "1 when `/readyz` says 200, else 0",
           "0 for minutes: `/readyz` names the partitions that are not served, the log says why.")
ANG_METRIC(START_TIME, GAUGE, "angzarr_process_start_time_seconds", SECONDS, ALONE, NONE, EVERYWHERE,
           "When the process began, in seconds since 1970", "It changes again and again: the process dies, see the last lines of its log.")
ANG_METRIC(UPTIME, GAUGE, "angzarr_process_uptime_seconds", SECONDS, ALONE, NONE, EVERYWHERE, "Since the process began", "")
ANG_METRIC(CPU, COUNTER, "angzarr_process_cpu_seconds_total", SECONDS, ALONE, NONE, EVERYWHERE, "User and system time of all threads",
           "As much as there are cores: add workers, partitions move to them by themselves.")
ANG_METRIC(RESIDENT, GAUGE, "angzarr_process_resident_memory_bytes", BYTES, ALONE, NONE, EVERYWHERE, "Memory of the process",
           "Near the limit of its container: lower `state.memory`, or give it more.")
ANG_METRIC(OPEN_FDS, GAUGE, "angzarr_process_open_fds", COUNT, ALONE, NONE, EVERYWHERE, "Open file descriptors", "")
ANG_METRIC(MAX_FDS, GAUGE, "angzarr_process_max_fds", COUNT, ALONE, NONE, EVERYWHERE, "As many may be open",
           "Nearly all are open: raise the limit (`ulimit -n`).")
ANG_METRIC(LOG_MESSAGES, COUNTER, "angzarr_log_messages_total", COUNT, BY("level", "id"), NONE, EVERYWHERE,
           "Errors and warnings, with those that were left out of the log because they repeat or because of its level",
           "An error is always worth a look: search the log for the id.")
ANG_METRIC(RPC_TIME, HISTOGRAM, "angzarr_rpc_duration_seconds", SECONDS, BY("method", "code"), TIMES, EVERYWHERE,
           "gRPC calls that were served, from the request to the status; streams until they end", "")

ANG_METRIC_GROUP("Commands, at the gateway", "As callers see them.")
ANG_METRIC(GW_COMMANDS, COUNTER, "angzarr_gateway_commands_total", COUNT, BY("domain", "code"), NONE, GATEWAY,
           "Commands that were answered",
           "UNAVAILABLE, DEADLINE_EXCEEDED: see what is behind, below. INTERNAL: search the worker's log. RESOURCE_EXHAUSTED: more comes "
           "than is done.")
ANG_METRIC(GW_COMMAND_TIME, HISTOGRAM, "angzarr_gateway_command_duration_seconds", SECONDS, BY("domain", "code"), TIMES, GATEWAY,
           "From a command's arrival to its answer",
           "Compare `angzarr_business_call_duration_seconds`, `angzarr_commit_duration_seconds` and the lag: one of them has grown as well.")
ANG_METRIC(GW_IN_FLIGHT, GAUGE, "angzarr_gateway_commands_in_flight", COUNT, BY("domain"), NONE, GATEWAY,
           "Commands that wait for their answer", "")
ANG_METRIC(GW_IN_FLIGHT_LIMIT, GAUGE, "angzarr_gateway_commands_in_flight_limit", COUNT, ALONE, NONE, GATEWAY,
           "`gateway.in_flight`: so many of a domain may wait", "")
ANG_METRIC(GW_FULL, COUNTER, "angzarr_gateway_full_total", COUNT, BY("domain"), NONE, GATEWAY,
           "Commands refused because `gateway.in_flight` wait already",
           "What makes answers slow is the cause; when nothing is slow, add gateways or raise `gateway.in_flight`.")
ANG_METRIC(GW_RESENDS, COUNTER, "angzarr_gateway_resends_total", COUNT, BY("domain"), NONE, GATEWAY,
           "Copies of a command that were appended after its first one",
           "Some with every move of a partition; many all the time: answers get lost or take longer than 5 s.")
ANG_METRIC(GW_APPEND_FAILURES, COUNTER, "angzarr_gateway_append_failures_total", COUNT, BY("domain"), NONE, GATEWAY,
           "Copies of a command that the log did not take", "Check the brokers, their disks and the network.")
ANG_METRIC(GW_WORKERS, GAUGE, "angzarr_gateway_workers_attached", COUNT, ALONE, NONE, WORKERLESS,
           "Workers whose stream of answers stands", "Fewer than run: can the gateway reach what `worker.advertise` says?")
ANG_METRIC(GW_UNREACHABLE, GAUGE, "angzarr_gateway_partitions_unreachable", COUNT, BY("domain"), NONE, WORKERLESS,
           "Partitions without an owner that serves and whose stream stands: their commands wait",
           "Are there workers of the domain, do they get ready (`angzarr_ready`), can the gateway reach them?")

ANG_METRIC_GROUP("Commands, at the worker", "As they are done: each record of the log once, when its outcome is committed.")
ANG_METRIC(COMMANDS, COUNTER, "angzarr_worker_commands_total", COUNT, BY("domain", "code"), NONE, WORKER,
           "Commands and reactions that have ended, copies among them", "")
ANG_METRIC(COMMAND_TIME, HISTOGRAM, "angzarr_worker_command_duration_seconds", SECONDS, BY("domain", "code"), TIMES, WORKER,
           "From the time of its record in the log (the broker's clock) to the commit of its outcome", "As at the gateway.")
ANG_METRIC(COPIES, COUNTER, "angzarr_worker_copies_total", COUNT, BY("domain"), NONE, WORKER,
           "Commands that got the outcome of an earlier copy and were not done again", "")
ANG_METRIC(EVENTS, COUNTER, "angzarr_worker_events_total", COUNT, BY("domain"), NONE, WORKER, "Events that were committed", "")
ANG_METRIC(SNAPSHOTS, COUNTER, "angzarr_worker_snapshots_total", COUNT, BY("domain"), NONE, WORKER, "Snapshots that were committed", "")
ANG_METRIC(DEAD_LETTERS, COUNTER, "angzarr_worker_dead_letters_total", COUNT, BY("domain", "lane", "reason"), NONE, WORKER,
           "Records put into the dead-letter topic",
           "Read the topic: its headers say why, and where the record came from. Correct whoever produces such records, or the business logic.")
ANG_METRIC(FORWARDED, COUNTER, "angzarr_worker_forwarded_total", COUNT, BY("domain", "lane"), NONE, WORKER,
           "Records in the wrong partition that were sent on", "A producer does not partition by murmur2 over the root: `MISROUTED` in the log.")
ANG_METRIC(SKIPPED, COUNTER, "angzarr_worker_skipped_total", COUNT, BY("domain", "lane"), NONE, WORKER,
           "Records of an input that are no command: without a value, or with a key of ours", "")
ANG_METRIC(ESCALATED, COUNTER, "angzarr_worker_escalated_total", COUNT, BY("domain", "lane"), NONE, WORKER,
           "Revocations that asked for somebody to look: `escalate`", "`ESCALATE` in the log has the reason and the root.")
ANG_METRIC(BAD_HEADERS, COUNTER, "angzarr_worker_bad_headers_total", COUNT, BY("domain", "lane"), NONE, WORKER,
           "Headers of commands that are no number and were ignored", "Correct who produces them.")
ANG_METRIC(FOREIGN, COUNTER, "angzarr_worker_foreign_records_total", COUNT, BY("domain"), NONE, WORKER,
           "Records of events and snapshots that angzarr cannot have written; skipped while a partition was taken over",
           "Something else writes into the topics: `FOREIGN-RECORD` in the log names the record.")

ANG_METRIC_GROUP("Business logic", "Calls from the worker.")
ANG_METRIC(CALL_TIME, HISTOGRAM, "angzarr_business_call_duration_seconds", SECONDS, BY("domain", "code"), TIMES, WORKER,
           "Calls, by what they were answered with; CANCELLED also by ourselves",
           "Slow: see the business logic. UNAVAILABLE: does it run, at the address of `business_logic`?")
ANG_METRIC(CALLS, GAUGE, "angzarr_business_calls_in_flight", COUNT, BY("domain", "lane", "speed"), NONE, WORKER, "Calls under way",
           "At the limit: the business logic is what bounds; give it more, or raise the limit.")
ANG_METRIC(CALLS_LIMIT, GAUGE, "angzarr_business_calls_limit", COUNT, BY("speed"), NONE, WORKER,
           "`limits.calls` and `limits.slow_calls`: so many of a lane may be under way", "")
ANG_METRIC(SLOW_CALLS, COUNTER, "angzarr_business_slow_calls_total", COUNT, BY("domain"), NONE, WORKER, "Calls that were or became slow",
           "The business logic hangs for some roots.")
ANG_METRIC(EVICTED_CALLS, COUNTER, "angzarr_business_evicted_calls_total", COUNT, BY("domain"), NONE, WORKER,
           "Slow calls that were cancelled to make room, and made again later", "As above: `SLOW-CALLS` in the log.")
ANG_METRIC(RETRIES, COUNTER, "angzarr_business_retries_total", COUNT, BY("domain"), NONE, WORKER,
           "Calls that have to be made again: no answer, or one that asks for it", "`BUSINESS-UNAVAILABLE` in the log says what they end with.")

ANG_METRIC_GROUP("Transactions", "How outcomes get into the log, many at a time.")
ANG_METRIC(COMMITTED, COUNTER, "angzarr_transactions_committed_total", COUNT, BY("domain", "lane"), NONE, WORKER,
           "Transactions that were committed, those of takeovers among them", "")
ANG_METRIC(ABORTED, COUNTER, "angzarr_transactions_aborted_total", COUNT, BY("domain", "lane", "class"), NONE, WORKER,
           "Transactions that were not committed, or (`unknown`) whose outcome had to be read from the log; what was in them runs again",
           "A few with every trouble of a broker or move of partitions; all the time: `COMMIT-ABORTED` in the log says why.")
ANG_METRIC(RETIRED, COUNTER, "angzarr_producers_retired_total", COUNT, BY("domain", "lane"), NONE, WORKER,
           "Producers that were replaced after trouble underneath", "Connections to the brokers break: `WRITER-RETIRED` in the log.")
ANG_METRIC(COMMIT_TIME, HISTOGRAM, "angzarr_commit_duration_seconds", SECONDS, BY("domain"), TIMES, WORKER,
           "The log's part of a transaction, from its begin to its commit", "The brokers are slow, or their disks.")
ANG_METRIC(APPLY_TIME, HISTOGRAM, "angzarr_apply_duration_seconds", SECONDS, BY("domain"), TIMES, WORKER,
           "Bringing a committed transaction into the store", "The disk under `state.path` is slow or full.")
ANG_METRIC(BATCH_COMMANDS, HISTOGRAM, "angzarr_batch_commands", COUNT, BY("domain"), NUMBERS, WORKER,
           "Commands that ended in one transaction", "")
ANG_METRIC(BATCH_RECORDS, HISTOGRAM, "angzarr_batch_records", COUNT, BY("domain"), NUMBERS, WORKER, "Records of a transaction", "")
ANG_METRIC(BATCH_BYTES, HISTOGRAM, "angzarr_batch_bytes", BYTES, BY("domain"), SIZES, WORKER, "Values of the records of a transaction", "")

ANG_METRIC_GROUP("Partitions", "What is ours, and what is behind. Seen once a second.")
ANG_METRIC(CONFIGURED, GAUGE, "angzarr_partitions_configured", COUNT, BY("domain"), NONE, EVERYWHERE,
           "Partitions of the domain: what `angzarr_partitions` of all workers should add up to", "")
ANG_METRIC(PARTITIONS, GAUGE, "angzarr_partitions", COUNT, BY("domain", "lane", "phase"), NONE, WORKER, "Partitions that are ours",
           "`serving` of all workers is less than configured: there is none, or it restores (`angzarr_partition_restored_ratio`), or "
           "`aside`: a partition of the log cannot be written, see [kafka.md](kafka.md).")
ANG_METRIC(LAG, GAUGE, "angzarr_partition_lag_records", COUNT, BY("domain", "partition", "input"), NONE, WORKER,
           "Records in the log that are not handled; markers of transactions count until they are known to be none. Known after the first fetch",
           "It grows: more comes than is done. It stands: see `angzarr_partition_stalled_seconds`.")
ANG_METRIC(STALLED, GAUGE, "angzarr_partition_stalled_seconds", SECONDS, BY("domain", "partition", "input"), NONE, WORKER,
           "How long the oldest record that is not handled has been the oldest; 0 when there is none",
           "`/healthz` has its offset (`oldest_open`). Its call hangs, or an open transaction holds it back (`held`).")
ANG_METRIC(OPEN, GAUGE, "angzarr_partition_open_commands", COUNT, BY("domain", "partition"), NONE, WORKER,
           "Commands that were read and are not committed", "At `limits.max_unfinished` no more is read until the oldest ends.")
ANG_METRIC(AHEAD, GAUGE, "angzarr_partition_done_ahead_records", COUNT, BY("domain", "partition", "input"), NONE, WORKER,
           "Records that are done although an older one is not", "One root is stuck; the others go on.")
ANG_METRIC(RESTORED, GAUGE, "angzarr_partition_restored_ratio", RATIO, BY("domain", "partition"), NONE, WORKER,
           "How much of what the store lacked has been read from the log; 1: it is served",
           "It stands still: `RESTORING` in the log; an open transaction can hold it back (`/healthz`, `held`).")
ANG_METRIC(TAKEOVERS, COUNTER, "angzarr_takeovers_total", COUNT, BY("domain"), NONE, WORKER, "Partitions that were taken over",
           "All the time: members come and go; raise `worker.session_timeout`, see why processes end.")
ANG_METRIC(TAKEOVER_FAILURES, COUNTER, "angzarr_takeover_failures_total", COUNT, BY("domain"), NONE, WORKER,
           "Attempts to take partitions over that failed and are made again", "`TAKEOVER` in the log says at which step.")
ANG_METRIC(TAKEOVER_TIME, HISTOGRAM, "angzarr_takeover_duration_seconds", SECONDS, BY("domain"), LONG_TIMES, WORKER,
           "From the assignment of a partition until it is served", "Most of it is restoring, as a rule: keep `state.path` over restarts.")
ANG_METRIC(RESTORE_TIME, HISTOGRAM, "angzarr_restore_duration_seconds", SECONDS, BY("domain"), LONG_TIMES, WORKER,
           "Reading the log into the store, of all partitions that are taken over together", "As above.")
ANG_METRIC(RESTORED_RECORDS, COUNTER, "angzarr_restored_records_total", COUNT, BY("domain"), NONE, WORKER,
           "Records that were read into the store by takeovers", "")
ANG_METRIC(FENCES, COUNTER, "angzarr_fences_total", COUNT, BY("domain", "result"), NONE, WORKER,
           "Transactional ids of earlier owners that had not let go and were fenced", "An owner died or hangs; `FENCED-OWNER` in the log names it.")

ANG_METRIC_GROUP("Lanes", "The threads that do the work.")
ANG_METRIC(LOOKED, GAUGE, "angzarr_lane_looked_seconds", SECONDS, BY("domain", "lane"), NONE, WORKER,
           "Since the lane looked at itself, which it does once a second",
           "More than some seconds: the lane waits for something, a broker as a rule.")
ANG_METRIC(HELD, GAUGE, "angzarr_lane_held_inputs", COUNT, BY("domain", "lane"), NONE, WORKER,
           "Partitions of topics whose records are held back by an open transaction of somebody else",
           "`TXN-HANGS` in the log has the record and the command that ends the transaction, see [health.md](health.md).")
ANG_METRIC(TAILS, GAUGE, "angzarr_lane_tails", COUNT, BY("domain", "lane"), NONE, WORKER,
           "Roots of which commands wait in the log because too many are open or memory is short", "Some roots are stuck, or far too busy.")

ANG_METRIC_GROUP("Memory and the store", "What `state.memory` is used for, and the index beside the worker.")
ANG_METRIC(MEMORY_USED, GAUGE, "angzarr_memory_used_bytes", BYTES, BY("share"), NONE, WORKER, "Used of each share, over all lanes", "")
ANG_METRIC(MEMORY_LIMIT, GAUGE, "angzarr_memory_limit_bytes", BYTES, BY("share"), NONE, WORKER,
           "What it may take, about",
           "`records` or `calls` are full: slow roots go back to the log and others wait; raise `state.memory`. The others are always full.")
ANG_METRIC(STORE_PARTS, GAUGE, "angzarr_store_parts", COUNT, ALONE, NONE, WORKER, "Partitions that the store holds, ours or not any more", "")
ANG_METRIC(STORE_DISK, GAUGE, "angzarr_store_disk_bytes", BYTES, ALONE, NONE, WORKER, "Files of the store",
           "Compare with the room under `state.path`.")
ANG_METRIC(STORE_ERRORS, COUNTER, "angzarr_store_background_errors_total", COUNT, ALONE, NONE, WORKER,
           "Flushes and compactions that failed and are tried again", "The disk under `state.path` is full or damaged.")
ANG_METRIC(STORE_REBUILDS, COUNTER, "angzarr_store_rebuilds_total", COUNT, BY("domain"), NONE, WORKER,
           "Partitions whose store could not be read or written and is made anew from the log", "Check the disk: `STORE-FAILED` in the log.")
