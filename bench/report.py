"""From the figures of bench/run to a page: medians, ratios, goals, and where the CPU time goes."""

import statistics

OURS = ("standalone", "gateway", "aggregate")
NAMES = {"one": "one process", "two": "two processes", "embedded": "embedded log"}


def medians(result):
    """{(what, in flight): {figure: median}}"""
    groups = {}
    for run in result["runs"]:
        groups.setdefault((run["what"], run["in_flight"]), []).append(run)
    out = {}
    for key, runs in groups.items():
        out[key] = {f: statistics.median(r[f] for r in runs) for f in ("rate", "p50_us", "p90_us", "p99_us", "max_us") if f in runs[0]}
        if "cpu" in runs[0]:
            out[key]["cpu"] = statistics.median(sum(r["cpu"][p]["us"] for p in OURS if p in r["cpu"]) for r in runs)
    return out


def table(head, rows):
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows]) + "\n"


def verdict(value, goal, at_most):
    return "reached" if (value <= goal if at_most else value >= goal) else "**missed**"


class Goals:
    def __init__(self):
        self.rows = []

    def ratio(self, what, ours, limit, goal, at_most, unit):
        sign = "≤" if at_most else "≥"
        r = ours / limit
        self.rows.append((what, f"{ours:,.{unit[1]}f} {unit[0]}", f"{limit:,.{unit[1]}f} {unit[0]}", f"{r:.2f} ×", f"{sign} {goal} ×",
                          verdict(r, goal, at_most)))

    def plain(self, what, ours, goal, at_most, unit):
        sign = "≤" if at_most else "≥"
        self.rows.append((what, f"{ours:,.{unit[1]}f} {unit[0]}", "", "", f"{sign} {goal:,} {unit[0]}", verdict(ours, goal, at_most)))


    def fact(self, what, ours, limit, unit):
        self.rows.append((what, f"{ours:,.{unit[1]}f} {unit[0]}", f"{limit:,.{unit[1]}f} {unit[0]}", f"{ours / limit:.2f} ×", "", ""))


MS, RATE, US, MIB, PERCENT = ("ms", 3), ("/s", 0), ("µs", 1), ("MiB", 1), ("%", 2)


def goals(result, m):
    g = Goals()
    for what, p50, rate in (("one", 1.3, 0.3), ("two", 1.5, 0.25)):
        if (what, 256) not in m:
            continue
        name = NAMES[what]
        g.ratio(f"{name}, 1 in flight, p50", m[what, 1]["p50_us"] / 1e3, m["eos_echo", 1]["p50_us"] / 1e3, p50, True, MS)
        g.ratio(f"{name}, 256 in flight, rate", m[what, 256]["rate"], m["eos_echo", 256]["rate"], rate, False, RATE)
        g.plain(f"{name}, CPU of ours per command at 256", m[what, 256]["cpu"], 100, True, US)
        g.fact("… to that of one unary call, both ends (grpc_ping, both cores busy)", m[what, 256]["cpu"], result["cores"] * 1e6 / m["grpc_ping", 64]["rate"], US)
    if ("embedded", 1) in m:
        g.ratio("embedded log, 1 in flight, p50, to one fdatasync", m["embedded", 1]["p50_us"] / 1e3, m["fdatasync", None]["p50_us"] / 1e3,
                2, True, MS)
        g.fact("… to one fdatasync and two unary calls (grpc_ping), one after the other", m["embedded", 1]["p50_us"] / 1e3,
               (m["fdatasync", None]["p50_us"] + 2 * m["grpc_ping", 1]["p50_us"]) / 1e3, MS)
        g.plain("embedded log, 256 in flight, rate", m["embedded", 256]["rate"], 10000, False, RATE)
    for name, idle in result["idle"].items():
        g.plain(f"idle standalone on {name}, CPU", idle["cpu_percent"], 1, True, PERCENT)
        g.plain(f"idle standalone on {name}, RSS", idle["rss_mib"], 40, True, MIB)
    for name, memory in result["memory"].items():
        worker = memory["aggregate"] if "aggregate" in memory else memory["standalone"]
        if name.endswith("roots"):
            g.plain(f"VmHWM of the worker, {name}", worker, 128, True, MIB)
    if "restore" in result:
        r = result["restore"]
        g.plain(f"restart of a worker with {r['aggregates']:,} aggregates, first answer", r["first_s"], 2, True, ("s", 2))
        g.ratio("restore of half of them without its store, to a scan", r["rate"], r["scan"], 0.2, False, RATE)
        g.ratio("16 in flight on the other worker meanwhile, p99", r["p99_meanwhile_us"] / 1e3, r["p99_before_us"] / 1e3, 2, True, MS)
    return table(("what", "ours", "limit", "ratio", "goal", ""), g.rows)


def rates(m):
    rows = []
    for n in sorted({n for what, n in m if what == "eos_echo"}):
        e = m["eos_echo", n]
        row = [str(n), f"{e['rate']:,.0f}", f"{e['p50_us'] / 1e3:.2f}"]
        for what in ("one", "two"):
            o = m[what, n]
            row += [f"{o['rate']:,.0f}", f"{o['rate'] / e['rate']:.2f} ×", f"{o['p50_us'] / 1e3:.2f}", f"{o['p50_us'] / e['p50_us']:.2f} ×",
                    f"{o['p99_us'] / 1e3:.1f}", f"{o['cpu']:.0f}"]
        rows.append(row)
    head = ["in flight", "eos_echo /s", "p50 ms"]
    for what in ("one", "two"):
        head += [f"{NAMES[what]} /s", "ratio", "p50 ms", "ratio", "p99 ms", "CPU µs"]
    return table(head, rows)


def threads(result):
    """CPU per command at 256 in flight, by process and thread: means over the runs."""
    out = []
    for what in ("one", "two", "embedded"):
        runs = [r for r in result["runs"] if r["what"] == what and r["in_flight"] == 256]
        if not runs:
            continue
        rows = []
        for process in runs[0]["cpu"]:
            rows.append((f"**{process}**", f"**{statistics.mean(r['cpu'][process]['us'] for r in runs):.1f}**"))
            if process not in OURS:
                continue
            names = {t for r in runs for t in r["cpu"][process]["threads"]}
            means = {t: statistics.mean(r["cpu"][process]["threads"].get(t, 0) for r in runs) for t in names}
            rows += [(f"{process}: {t}", f"{us:.1f}") for t, us in sorted(means.items(), key=lambda x: -x[1]) if us >= 0.05]
        out.append(f"### {NAMES[what]}\n\n" + table(("thread", "µs a command"), rows))
    return "\n".join(out)


def markdown(result):
    m = medians(result)
    parts = [f"# Benchmark of {result['when']}\n",
             f"{result['cores']} cores for all of it: broker, load, business logic, ours. {result['payload']} B, {result['partitions']} partitions, "
             f"medians of {result['rounds']}, {result['seconds']} s each. Load average before: {result['load_average']:.1f} (what else ran spoils the figures)." + (" **Quick: for a look only.**" if result["quick"] else "") + "\n",
             goals(result, m)]
    if ("eos_echo", 1) in m:
        parts += ["## On Kafka\n", rates(m)]
    if ("embedded", 256) in m:
        parts += ["## On the embedded log\n", table(
            ("what", "in flight", "/s", "p50 ms", "p99 ms", "CPU µs"),
            [(what, str(n or ""), f"{m[what, n]['rate']:,.0f}", f"{m[what, n]['p50_us'] / 1e3:.2f}", f"{m[what, n]['p99_us'] / 1e3:.2f}",
              f"{m[what, n].get('cpu', 0):.0f}") for what, n in (("fdatasync", None), ("embedded", 1), ("embedded", 256))])]
    found = threads(result)
    if found:
        parts += ["## CPU per command at 256 in flight, by thread\n", found]
    for name, memory in result["memory"].items():
        parts.append(f"VmHWM, {name}: " + ", ".join(f"{role} {mib:.0f} MiB" for role, mib in memory.items()) + "\n")
    for name, idle in result["idle"].items():
        parts.append(f"Idle on {name}, by thread: " + ", ".join(f"{t} {p:.2f} %" for t, p in idle["threads_percent"].items()) + "\n")
    return "\n".join(parts)
