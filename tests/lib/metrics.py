"""/metrics, as somebody else reads it: prometheus_client's parser, and promtool.

    Scrape       one answer of /metrics: the samples, and what is wrong with it
    documented   the rows and labels of docs/metrics.md
"""

import collections
import math
import pathlib
import re
import subprocess
import urllib.request

from prometheus_client.parser import text_string_to_metric_families

ROOT = pathlib.Path(__file__).resolve().parents[2]
TYPE = "text/plain; version=0.0.4; charset=utf-8"
PARTS = re.compile(r"_(bucket|sum|count)$")


def promtool(*args, text=None):
    """Runs it; fails unless it finds nothing to say."""
    tool = subprocess.run([ROOT / "scripts/promtool.sh"], stdout=subprocess.PIPE, text=True, check=True).stdout.strip()
    done = subprocess.run([tool, *map(str, args)], input=text, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert done.returncode == 0, f"promtool {' '.join(map(str, args))}: status {done.returncode}\n{done.stdout}"
    return done.stdout


class Scrape:
    def __init__(self, address):
        with urllib.request.urlopen(f"http://{address}/metrics", timeout=10) as answer:
            assert (answer.status, answer.headers["Content-Type"]) == (200, TYPE)
            self.text = answer.read().decode()
        self.types = {}    # of a metric, as the table has it
        self.samples = {}  # (name, labels as sorted pairs): value
        for family in text_string_to_metric_families(self.text):
            for sample in family.samples:
                key = sample.name, tuple(sorted(sample.labels.items()))
                assert key not in self.samples, f"twice: {key}"
                self.samples[key] = sample.value
                name = PARTS.sub("", sample.name) if family.type == "histogram" else sample.name
                self.types[name] = family.type

    def get(self, name, **labels):
        """Of one series; 0 when there is none."""
        return self.samples.get((name, tuple(sorted(labels.items()))), 0)

    def sum(self, name, **labels):
        """Over all series that have these labels; 0 when there is none."""
        wanted = set(labels.items())
        return sum(value for (n, have), value in self.samples.items() if n == name and wanted <= set(have))

    def series(self, name):
        """{labels as a dict's pairs: value}"""
        return {have: value for (n, have), value in self.samples.items() if n == name}

    def check(self):
        """What any reader may expect, and promtool's opinion."""
        names = re.findall(r"^# TYPE (\S+) ", self.text, re.M)
        assert len(names) == len(set(names)) and names == re.findall(r"^# HELP (\S+) ", self.text, re.M), names
        seen = [PARTS.sub("", line.split("{")[0].split(" ")[0]) if self.types.get(PARTS.sub("", line.split("{")[0].split(" ")[0])) == "histogram"
                else line.split("{")[0].split(" ")[0] for line in self.text.splitlines() if not line.startswith("#")]
        assert [n for i, n in enumerate(seen) if i == 0 or seen[i - 1] != n] == names  # the samples of a metric stand together
        for name, type in self.types.items():
            if type == "histogram":
                self.check_histogram(name)
        for (name, labels), value in self.samples.items():
            assert not math.isnan(value), (name, labels)
        promtool("check", "metrics", text=self.text)
        return self

    def check_histogram(self, name):
        buckets = collections.defaultdict(list)
        for labels, value in self.series(name + "_bucket").items():
            of = dict(labels)
            buckets[tuple(sorted((k, v) for k, v in of.items() if k != "le"))].append((float(of["le"]), value))
        for labels, found in buckets.items():
            assert [le for le, _ in found] == sorted(le for le, _ in found) and found[-1][0] == math.inf, (name, labels)
            counts = [n for _, n in found]
            assert counts == sorted(counts), (name, labels, counts)
            assert self.samples[name + "_count", labels] == counts[-1], (name, labels)
            assert self.samples[name + "_sum", labels] >= 0, (name, labels)
        assert set(buckets) == set(self.series(name + "_count")) == set(self.series(name + "_sum")), name

    def rises_from(self, before):
        """Counters, buckets and counts of an earlier scrape of the same process: none has fallen or gone."""
        for (name, labels), value in before.samples.items():
            type = self.types.get(name) or self.types.get(PARTS.sub("", name))
            if type in ("counter", "histogram"):
                assert self.samples[name, labels] >= value, (name, labels)


def deltas(before, after, name):
    """{labels: difference} of what has changed, of one metric."""
    keys = set(before.series(name)) | set(after.series(name))
    found = {key: after.series(name).get(key, 0) - before.series(name).get(key, 0) for key in keys}
    return {tuple(sorted(key)): n for key, n in found.items() if n}


class Row:
    def __init__(self, cells):
        self.name = cells[0].strip("`")
        self.type = cells[1].split()[0]
        self.labels = set(re.findall(r"`(\w+)`", cells[2]))
        self.roles = {"standalone", "aggregate", "gateway", "stream"} if cells[3] == "all" else set(cells[3].split(", "))


def documented():
    """({name: Row}, {label: its values, None when they are named at start}) out of the page."""
    rows, labels = {}, {}
    for line in (ROOT / "docs/metrics.md").read_text().splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith("| `angzarr_"):
            assert len(cells) == 6, line
            rows[cells[0].strip("`")] = Row(cells)
        elif line.startswith("| `"):
            labels[cells[0].strip("`")] = None if cells[1] == "named at start" else re.findall(r"`([^`]*)`", cells[1])
    return rows, labels
