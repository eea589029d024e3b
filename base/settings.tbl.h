/* Every setting, one row each: parsing, defaults, checks and docs/settings.md come from here.
 *
 * ANG_SECTION(name, help)                     opens a section; its rows follow
 * ANG_SETTING(section, key, type, field, default, limits, env, help)
 * ANG_BUSINESS(key, type, field, default, limits, help)   one key of a row of business_logic
 *
 * type     an ANG_SET_* of settings_priv.h; the field's C type must fit it (checked when compiled)
 * field    in struct ang_settings, or in struct ang_set_business
 * default  as a user would write it; NULL: must be given; "" with a help that says so: worked out at start
 * limits   IN(low, high) for numbers, WORDS(…) for enums in the order of the enum, MATCH(what) for texts, NOTHING
 * env      short name of an environment variable, or NULL; ANGZARR__SECTION__KEY works for every row */

ANG_SECTION(log, "Where commands and events are kept.")
ANG_SETTING(log, type, ENUM, log.type, "embedded", WORDS("embedded", "kafka"), NULL,
            "`kafka` is for production and needs `log.kafka.bootstrap.servers`; `embedded` needs nothing and is for one "
            "process: `angzarr standalone`.")
ANG_SETTING(log, path, STRING, log.path, "", NOTHING, NULL,
            "Folder of the embedded log. Default: `log` inside `state.path`.")

ANG_SECTION(topology, "Names and shape of the topics.")
ANG_SETTING(topology, prefix, STRING, topology.prefix, "angzarr.", MATCH(ANG_MATCH_PREFIX), NULL,
            "What every topic, group and transactional id begins with.")
ANG_SETTING(topology, partitions, INT, topology.partitions, "12", IN(1, 4096), NULL,
            "Partitions of each topic of a domain. Cannot be changed once the topics exist.")
ANG_SETTING(topology, replication, INT, topology.replication, "3", IN(1, 32), NULL,
            "Copies of each topic on the brokers. A laptop with one broker needs 1.")
ANG_SETTING(topology, create, BOOL, topology.create, "true", NOTHING, NULL,
            "Create missing topics at start. They are checked in either case.")

ANG_SECTION(state, "The index beside each worker. It can always be rebuilt from the log.")
ANG_SETTING(state, path, STRING, state.path, "./data", MATCH(ANG_MATCH_FILLED), NULL,
            "Folder of the state; a worker uses the folder `worker.id` in it.")
ANG_SETTING(state, memory, SIZE, state.memory, "64MiB", IN(8 * ANG_MIB, 1024 * 1024 * ANG_MIB), NULL,
            "Bound on the memory that state and what is not yet committed may take.")
ANG_SETTING(state, keep, DURATION, state.keep_ms, "1h", IN(0, 365 * ANG_DAY), NULL,
            "How long the state of a partition is kept after it moved to another worker.")

ANG_SECTION(worker, "The process that runs commands.")
ANG_SETTING(worker, id, STRING, worker.id, "", MATCH(ANG_MATCH_ID), NULL,
            "Name of the worker, stable across restarts, of its own for every worker of a cluster. Default: "
            "`${POD_NAME}` when that is set, otherwise the host name.")
ANG_SETTING(worker, address, LISTEN, worker.address, "127.0.0.1:0", NOTHING, "GRPC_PORT",
            "Where the worker listens for gateways; port 0 takes a free one. `GRPC_PORT` replaces the port only.")
ANG_SETTING(worker, advertise, TARGET, worker.advertise, "", MATCH(ANG_MATCH_OR_EMPTY), "ANGZARR_SERVICE_ENDPOINT",
            "The address others reach the worker at. Default: where it listens.")
ANG_SETTING(worker, http, LISTEN, worker.http, "", MATCH(ANG_MATCH_OR_EMPTY), NULL,
            "Where `/healthz`, `/readyz` and `/metrics` of a worker are served. Empty: nowhere.")
ANG_SETTING(worker, lanes, INT, worker.lanes, "0", IN(0, 64), NULL,
            "Lanes per domain: each is a member of the group that owns a part of the partitions, with threads of its own. 0 chooses "
            "one, which is the fastest on few cores. The embedded log always has one.")
ANG_SETTING(worker, session_timeout, DURATION, worker.session_timeout_ms, "6s", IN(6 * ANG_SECOND, 30 * ANG_MINUTE), NULL,
            "After this long without a sign of life another worker takes over.")

ANG_SECTION(gateway, "The process that callers talk to.")
ANG_SETTING(gateway, address, LISTEN, gateway.address, "127.0.0.1:1316", NOTHING, "GRPC_PORT",
            "Where gRPC is served. `GRPC_PORT` replaces the port only.")
ANG_SETTING(gateway, http, LISTEN, gateway.http, "127.0.0.1:8080", MATCH(ANG_MATCH_OR_EMPTY), NULL,
            "Where `/healthz`, `/readyz` and `/metrics` are served. Empty: nowhere.")
ANG_SETTING(gateway, id, STRING, gateway.id, "", MATCH(ANG_MATCH_ID), NULL,
            "Name that answers are sent to, of its own for every gateway. Default: the host name and eight random digits.")
ANG_SETTING(gateway, deadline, DURATION, gateway.deadline_ms, "30s", IN(10, ANG_HOUR), NULL,
            "Deadline of a call that brings none.")
ANG_SETTING(gateway, in_flight, INT, gateway.in_flight, "8192", IN(1, 1000000), NULL,
            "Commands of one domain that wait for their answer at once; more are refused with RESOURCE_EXHAUSTED.")

ANG_SECTION(stream, "Events as they come: EventStream, EventTail, Synchronize and ExecuteStream.")
ANG_SETTING(stream, address, LISTEN, stream.address, "127.0.0.1:1317", NOTHING, "GRPC_PORT",
            "Where the role `stream` serves gRPC; the gateway has all of it on its own address. `GRPC_PORT` replaces the port only.")
ANG_SETTING(stream, http, LISTEN, stream.http, "", MATCH(ANG_MATCH_OR_EMPTY), NULL,
            "Where `/healthz`, `/readyz` and `/metrics` of the role `stream` are served. Empty: nowhere.")
ANG_SETTING(stream, timeout, DURATION, stream.timeout_ms, "30s", IN(10, ANG_HOUR), "STREAM_TIMEOUT_SECS",
            "ExecuteStream ends after this long without an event. `STREAM_TIMEOUT_SECS` is in seconds.")
ANG_SETTING(stream, memory, SIZE, stream.memory, "64MiB", IN(ANG_MIB, 1024 * 1024 * ANG_MIB), NULL,
            "What may wait for callers of EventStream, EventTail and ExecuteStream who do not take it, all together; beyond it whoever has the "
            "most is cut off. One caller may have 1 MiB.")

ANG_SECTION(limits, "Bounds that hold everywhere.")
ANG_SETTING(limits, message, SIZE, limits.message, "1MiB", IN(16 * ANG_KIB, 256 * ANG_MIB), NULL,
            "Largest message, in gRPC and in the log. Must be the same in every process of a cluster.")
ANG_SETTING(limits, call_timeout, DURATION, limits.call_timeout_ms, "30s", IN(10, ANG_HOUR), NULL,
            "Time a call to business logic may take.")
ANG_SETTING(limits, command_ttl, DURATION, limits.command_ttl_ms, "24h", IN(ANG_SECOND, 7 * ANG_DAY), NULL,
            "Time after which a command without a deadline is given up.")
ANG_SETTING(limits, calls, INT, limits.calls, "512", IN(1, 65536), NULL,
            "Calls under way at once to one address of business logic.")
ANG_SETTING(limits, slow_after, DURATION, limits.slow_after_ms, "1s", IN(10, ANG_HOUR), NULL,
            "A call that takes longer, and far longer than usual, no longer counts in `limits.calls` but in `limits.slow_calls`.")
ANG_SETTING(limits, slow_calls, INT, limits.slow_calls, "1024", IN(1, 65536), NULL,
            "Slow calls under way at once; beyond it the oldest is cancelled when others wait, and made again later.")
ANG_SETTING(limits, max_unfinished, INT, limits.max_unfinished, "10000", IN(1, 1000000), NULL,
            "Commands of a partition that are open at once; more wait in the log.")
ANG_SETTING(limits, dedupe_window, DURATION, limits.dedupe_window_ms, "24h", IN(ANG_SECOND, 7 * ANG_DAY), NULL,
            "How long a command sent again with its idempotency key is answered without being done again.")

ANG_SECTION(replay, "What a committed position that somebody has set back means.")
ANG_SETTING(replay, commands, ENUM, replay.commands, "refuse", WORDS("refuse", "allow"), NULL,
            "Of a domain's group: `refuse` goes on where the worker was; `allow` runs the commands from there again. What is in "
            "`limits.dedupe_window` or has a stale sequence is not done twice; a command that was refused may succeed now.")

ANG_SECTION(compensation, "What happens when a reaction is refused.")
ANG_SETTING(compensation, domain, STRING, compensation.domain, "system", MATCH(ANG_MATCH_DOMAIN), NULL,
            "Domain that is told of refusals nobody took care of.")

ANG_BUSINESS(domain, STRING, domain, NULL, MATCH(ANG_MATCH_DOMAIN), "Domain it serves; each only once.")
ANG_BUSINESS(address, TARGET, address, NULL, NOTHING, "Where its gRPC service listens.")
ANG_BUSINESS(contract, ENUM, contract, "auto", WORDS("auto", "business_logic", "aggregate"),
             "Which service it serves; `auto` asks it.")
ANG_BUSINESS(start, ENUM, start, "earliest", WORDS("earliest", "latest"),
             "Where a domain that never ran begins to read its commands and reactions: `earliest` takes what is there already, `latest` "
             "only what comes from then on.")
ANG_BUSINESS(snapshots.every, INT, snapshots_every, "50", IN(0, 1000000),
             "A snapshot after this many events since the last one. `snapshots: always` is 1, `snapshots: off` is 0: none.")
ANG_BUSINESS(snapshots.send, BOOL, send_snapshots, "true", NOTHING,
             "Send the latest snapshot and the events after it; `false` sends the whole history.")
