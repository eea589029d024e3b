"""What ./check does after the dependencies are there: builds, runs the groups of tests, counts.

Every test runs in a session of its own and carries a mark in its environment, so that a process which outlives its test is found,
ended and counted as a failure.
"""

import argparse
import concurrent.futures
import contextlib
import dataclasses
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import uuid
import xml.etree.ElementTree as xml

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from lib.kafka import Kafka  # noqa: E402

ROOT = pathlib.Path(__file__).resolve().parents[2]
LOGS = ROOT / "build/check-logs"
MARK = "ANGZARR_CHECK"

SANITIZER_ENV = {
    "asan": {
        "ASAN_OPTIONS": "detect_leaks=1:detect_stack_use_after_return=1:strict_string_checks=1:exitcode=99",
        "UBSAN_OPTIONS": "print_stacktrace=1",
        "ANGZARR_TEST_SCALE": "3",
    },
    "tsan": {
        "TSAN_OPTIONS": "ignore_noninstrumented_modules=1:exitcode=66:second_deadlock_stack=1",
        "ANGZARR_TEST_SCALE": "6",
    },
}


@dataclasses.dataclass
class Group:
    name: str
    preset: str
    make: tuple = ()          # arguments of make, which builds what the group needs beside the preset
    label: str = ""           # ctest
    pytest: tuple = ()        # arguments
    command: tuple = ()       # one test: this command ends with 0
    waits: bool = False       # mostly for time to pass: what comes later is built meanwhile, and the group after it runs beside it
    several: bool = False     # pytest: several at a time; those marked `alone` after them, one by one
    broker: bool = False      # ANG_TEST_KAFKA names a broker
    env: dict = dataclasses.field(default_factory=dict)
    minutes: float = 10

    @property
    def sanitizer(self):
        return self.preset in SANITIZER_ENV


E2E = "tests/e2e"
LOAD = "tests/e2e/test_load_kills.py"
AT_A_TIME = 3  # most tests wait most of the time
SHORT_LOAD = {"ANGZARR_LOAD_COMMANDS": "2000", "ANGZARR_LOAD_KILLS": "2", "ANGZARR_SLOW_ROOTS_COMMANDS": "300"}

GROUPS = [
    Group("checks", "dev", label="checks"),
    Group("mock", "dev", label="mock", waits=True),
    Group("unit", "dev", label="unit"),
    Group("contract-kafka", "dev", label="contract-kafka", broker=True, waits=True),
    Group("contract-embedded", "dev", label="contract-embedded"),
    Group("json", "dev", pytest=("tests/json",)),
    Group("examples", "release", make=("-j2", "-C", "examples", "build", f"PYTHON={sys.executable}"),
          pytest=("-c", "tests/examples/pytest.ini", "-n2", "--dist=loadgroup", "examples/customer", "tests/examples"), minutes=15),
    Group("e2e-embedded", "dev", pytest=(E2E, "--log=embedded"), several=True, minutes=15),
    Group("e2e-kafka", "dev", pytest=(E2E, "--log=kafka"), several=True, env={"ANGZARR_SLOW_ROOTS_COMMANDS": "800"}, minutes=20),
    Group("faults", "dev", pytest=("tests/faults", "-m", "not long", "--seed=4711"), minutes=10),
    Group("quickstart", "release", command=("./quickstart",)),
    Group("quickstart-kafka", "release", command=("./quickstart", "--kafka")),
    Group("quickstart-next", "release", pytest=("tests/quickstart",)),
    Group("asan-mock", "asan", label="mock", waits=True),
    Group("asan-unit", "asan", label="unit"),
    Group("asan-json", "asan", pytest=("tests/json", "--messages=1500")),
    Group("asan-contract-embedded", "asan", label="contract-embedded"),
    Group("asan-e2e-embedded", "asan", pytest=(E2E, "--log=embedded"), several=True, env=SHORT_LOAD, minutes=20),
    Group("asan-load-kafka", "asan", pytest=(LOAD, "--log=kafka"), env=SHORT_LOAD, minutes=15),
    Group("tsan-contract-kafka", "tsan", label="contract-kafka", broker=True, waits=True),
    Group("tsan-unit", "tsan", label="unit"),
    Group("tsan-contract-embedded", "tsan", label="contract-embedded"),
    Group("tsan-load", "tsan", pytest=(LOAD, "--log=both"), env=SHORT_LOAD, minutes=15),
]


@dataclasses.dataclass
class Count:
    passed: int = 0
    failed: int = 0
    skipped: int = 0

    def add(self, other):
        self.passed += other.passed
        self.failed += other.failed
        self.skipped += other.skipped

    def __str__(self):
        return f"{self.passed} passed, {self.failed} failed, {self.skipped} skipped"


def say(*words):
    print(*words, flush=True)


def show(title, text, lines=150):
    kept = text.rstrip().splitlines()
    if len(kept) > lines:
        kept = [f"... {len(kept) - lines} lines before these are in the log"] + kept[-lines:]
    say(f"---- {title}\n" + "\n".join("    " + line for line in kept))


def no_aslr():
    """Prefix that switches address randomisation off: ThreadSanitizer of some compilers cannot live with newer kernels' range."""
    prefix = ["setarch", os.uname().machine, "-R"]
    with contextlib.suppress(OSError):
        if subprocess.run([*prefix, "true"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode == 0:
            return prefix
    return []


class Check:
    def __init__(self):
        self.mark = uuid.uuid4().hex
        self.tmp = tempfile.mkdtemp(prefix="angzarr-check-")
        self.children = set()
        self.broker = None
        self.total = Count()
        self.builder = concurrent.futures.ThreadPoolExecutor(1)
        self.builds = {}
        self.beside = concurrent.futures.ThreadPoolExecutor(1)
        self.counting = threading.Lock()
        os.environ.update({MARK: self.mark, "TMPDIR": self.tmp})
        shutil.rmtree(LOGS, ignore_errors=True)
        LOGS.mkdir(parents=True)

    # ---- processes

    def run(self, argv, log, env=None, minutes=30.0):
        """Exit status; None when it ran out of time.  Output goes to the log."""
        with open(log, "ab") as out:
            child = subprocess.Popen([str(a) for a in argv], cwd=ROOT, env=dict(os.environ, **(env or {})), stdin=subprocess.DEVNULL,
                                     stdout=out, stderr=subprocess.STDOUT, start_new_session=True)
        self.children.add(child)
        try:
            return child.wait(minutes * 60)
        except subprocess.TimeoutExpired:
            os.killpg(child.pid, signal.SIGKILL)
            child.wait()
            return None
        finally:
            self.children.discard(child)

    def marked(self, mark):
        """Processes that carry the mark of a group, or ours and any of theirs; except ourselves."""
        mine = {os.getpid()}
        wanted = [f"{MARK}={mark}".encode()]
        if mark == self.mark:
            wanted += [f"{MARK}={mark}-{group.name}".encode() for group in GROUPS]
        found = []
        for entry in os.listdir("/proc"):
            if not entry.isdigit() or int(entry) in mine:
                continue
            with contextlib.suppress(OSError):
                environment = pathlib.Path("/proc", entry, "environ").read_bytes().split(b"\0")
                if any(w in environment for w in wanted):
                    state = pathlib.Path("/proc", entry, "stat").read_text().rpartition(")")[2].split()[0]
                    if state not in "ZX":
                        command = pathlib.Path("/proc", entry, "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                        found.append((int(entry), command.strip()))
        return found

    def leftovers(self, mark):
        """Ends what carries the mark and runs on; returns what that was."""
        until = time.monotonic() + 3
        while (found := self.marked(mark)) and time.monotonic() < until:
            time.sleep(0.05)
        for pid, _ in found:
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        return found

    def close(self):
        self.builder.shutdown(wait=False, cancel_futures=True)
        self.beside.shutdown(wait=False, cancel_futures=True)
        for child in list(self.children):
            with contextlib.suppress(OSError):
                os.killpg(child.pid, signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(10)
        self.stop_broker()
        self.leftovers(self.mark)
        shutil.rmtree(self.tmp, ignore_errors=True)

    def start_broker(self):
        if self.broker is None:
            self.broker = Kafka()
            self.broker.start()
        return self.broker.bootstrap

    def stop_broker(self):
        if self.broker is not None:
            self.broker.close()
            self.broker = None

    # ---- building

    def build(self, name, *commands):
        """The commands one after the other; whether all of them went well."""
        log = LOGS / f"build-{name}.log"
        start = time.monotonic()
        # Whoever runs tests meanwhile goes first.
        ok = all(self.run(["nice", *command], log, {MARK: "build"}) == 0 for command in commands)
        say(f"{'build ' + name:<24} {'done' if ok else 'FAILED':<40} {time.monotonic() - start:6.1f} s")
        if not ok:
            show(log.relative_to(ROOT), log.read_text(errors="replace"))
        return ok

    def begin_build(self, group):
        """What the group needs is built after what was begun before; each thing once."""
        preset = group.preset
        if preset and preset not in self.builds:
            self.builds[preset] = self.builder.submit(self.build, preset, ["cmake", "--preset", preset], ["cmake", "--build", "--preset", preset])
        if group.make and group.name not in self.builds:
            self.builds[group.name] = self.builder.submit(self.build, group.name, ["make", *group.make])

    def begin_next(self, preset, later):
        """The next preset, and what groups of it need."""
        later = [g for g in later if g.preset != preset]
        for group in later:
            if group.preset == later[0].preset:
                self.begin_build(group)

    def unbuilt(self, group):
        """The name of what the group needs and does not build, if any; waits for it."""
        self.begin_build(group)
        names = [group.preset] * bool(group.preset) + [group.name] * bool(group.make)
        return next((name for name in names if not self.builds[name].result()), None)

    # ---- running

    def ctest(self, group, log, env):
        junit = LOGS / f"{group.name}.xml"
        timeout = ["--timeout", str(int(300 * float(env.get("ANGZARR_TEST_SCALE", "1"))))]
        # Tests of one broker share it: one at a time.
        jobs = ["-j", "1" if group.broker else str(os.cpu_count())]
        status = self.run([*self.prefix(group), "ctest", "--test-dir", f"build/{group.preset}", "-L", f"^{group.label}$", "--output-on-failure",
                           "--no-tests=error", "--output-junit", junit, *timeout, *jobs], log, env, group.minutes)
        return self.counted(junit, status)

    def pytest(self, group, log, env):
        count, failures = Count(), []
        rounds = [("", ())]
        if group.several:
            rounds = [("", ("-n", AT_A_TIME, "--dist=loadfile", "-m", "not alone")), ("-alone", ("-m", "alone"))]
        for name, more in rounds:
            junit = LOGS / f"{group.name}{name}.xml"
            status = self.run([*self.prefix(group), sys.executable, "-m", "pytest", *group.pytest, *more, f"--junitxml={junit}", "-q"], log, env,
                              group.minutes)
            one = self.counted(junit, status)
            count.add(one[0])
            failures += one[1]
        return count, failures

    def command(self, group, log, env):
        status = self.run(group.command, log, env, group.minutes)
        if status == 0:
            return Count(passed=1), []
        why = f"it ran out of its {group.minutes:g} minutes" if status is None else f"status {status}"
        return Count(failed=1), [(" ".join(group.command), f"{log.read_text(errors='replace')}\n{why}")]

    def prefix(self, group):
        return no_aslr() if group.preset == "tsan" else []

    def counted(self, junit, status):
        count, failures = Count(), []
        if junit.exists():
            for case in xml.parse(junit).getroot().iter("testcase"):
                bad = [e for e in case if e.tag in ("failure", "error")]
                state = case.get("status", "")  # ctest: run, fail, disabled, notrun
                if bad or state == "fail":
                    count.failed += 1
                    texts = [(e.get("message") or "") + "\n" + (e.text or "") for e in bad]
                    texts += [e.text or "" for e in case if e.tag == "system-out" and state]
                    failures.append((f"{case.get('classname', '')}.{case.get('name')}", "\n".join(texts)))
                elif case.find("skipped") is not None or state in ("disabled", "notrun"):
                    count.skipped += 1
                else:
                    count.passed += 1
        if status != 0 and count.failed == 0:
            count.failed += 1
            failures.append(("the group", "it ran out of time" if status is None else f"its runner ended with status {status}"))
        if count.passed + count.failed + count.skipped == 0:
            count.failed += 1
            failures.append(("the group", "it ran no test"))
        return count, failures

    def groups(self, chosen):
        """One after the other; but what waits for time to pass leaves the machine to the next of its preset."""
        waiting = None
        for i, group in enumerate(chosen):
            if self.unbuilt(group) is None and group.waits:
                self.begin_next(group.preset, chosen[i + 1:])
            follows = i + 1 < len(chosen) and chosen[i + 1].preset == group.preset and not chosen[i + 1].waits
            if group.waits and follows:
                waiting = self.beside.submit(self.group, group)
                continue
            self.group(group)
            if waiting is not None:
                waiting.result()
            waiting = None

    def group(self, group):
        unbuilt = self.unbuilt(group)
        if unbuilt:
            count, failures, start = Count(failed=1), [("the group", f"{unbuilt} does not build")], time.monotonic()
            log = LOGS / f"build-{unbuilt}.log"
        else:
            log = LOGS / f"{group.name}.log"
            mark = f"{self.mark}-{group.name}"
            env = {MARK: mark, "ANGZARR_BINARY": str(ROOT / f"build/{group.preset or 'dev'}/angzarr"), **SANITIZER_ENV.get(group.preset, {}), **group.env}
            if group.broker:
                env["ANG_TEST_KAFKA"] = self.start_broker()
            start = time.monotonic()
            kind = self.ctest if group.label else self.pytest if group.pytest else self.command
            count, failures = kind(group, log, env)
            if group.broker:
                self.stop_broker()
            left = self.leftovers(mark)
            if left:
                count.failed += 1
                failures.append(("processes that outlived their test", "\n".join(f"{pid} {command}" for pid, command in left)))
        arrow = "" if count.failed + count.skipped == 0 else "   <--"
        say(f"{group.name:<24} {str(count):<40} {time.monotonic() - start:6.1f} s{arrow}")
        for name, text in failures:
            show(f"{group.name}: {name}", text)
        if failures:
            say(f"---- whole log: {log.relative_to(ROOT)}")
        with self.counting:
            self.total.add(count)


def main():
    parser = argparse.ArgumentParser(prog="./check", description="Builds everything and runs all tests.")
    parser.add_argument("--fast", action="store_true", help="without the sanitizer builds")
    parser.add_argument("--list", action="store_true", help="name the groups and end")
    parser.add_argument("groups", nargs="*", metavar="group")
    args = parser.parse_args()
    by_name = {g.name: g for g in GROUPS}
    if args.list:
        say("\n".join(by_name))
        return 0
    for name in args.groups:
        if name not in by_name:
            parser.error(f"no group {name!r}; there are {', '.join(by_name)}")
    chosen = [by_name[n] for n in args.groups] if args.groups else [g for g in GROUPS if not (args.fast and g.sanitizer)]

    def stop(number, frame):
        raise KeyboardInterrupt
    signal.signal(signal.SIGTERM, stop)

    start = time.monotonic()
    check = Check()
    try:
        check.groups(chosen)
    except KeyboardInterrupt:
        say("interrupted")
        check.total.failed += 1
    finally:
        check.close()
    say(f"{'total':<24} {'':<40} {time.monotonic() - start:6.1f} s")
    say(check.total)
    return 0 if check.total.failed + check.total.skipped == 0 else 1


if __name__ == "__main__":
    sys.exit(main())
