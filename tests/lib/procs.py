"""Processes that a test starts: logs in files, ends with the test's own process, shown when a test fails.

Only the standard library: the quick start and the benchmarks use this too.
"""

import contextlib
import itertools
import os
import random
import re
import signal
import socket
import subprocess
import threading
import time

SCALE = float(os.environ.get("ANGZARR_TEST_SCALE", "1"))  # time limits, for slow builds (sanitizers)

alive = []  # every Process that was started and not yet closed
closed = []  # (name, output) of those closed during the present test
complaints = []  # what sanitizers and asserts said in the output of processes since the test before

COMPLAINT = re.compile(r"ERROR: (Address|Leak)Sanitizer|WARNING: ThreadSanitizer|FATAL: ThreadSanitizer|runtime error: |angzarr: PANIC: |: Assertion `.*. failed")


class NotInTime(AssertionError):
    pass


def eventually(check, timeout=20, every=0.02, what=None):
    """Calls check() until it returns something true without an AssertionError; returns that."""
    until = time.monotonic() + timeout * SCALE
    while True:
        failed = None
        try:
            result = check()
            if result:
                return result
        except AssertionError as e:
            failed = e
        if time.monotonic() > until:
            name = what or getattr(check, "__doc__", None) or getattr(check, "__name__", "it")
            raise NotInTime(f"not within {timeout * SCALE:g} s: {name}" + (f": {failed}" if failed else "")) from failed
        time.sleep(every)


class _Ports:
    """A range of ports that no other run on this machine takes from, so that a server may be away for a while and find its own again.
    Below those that the kernel gives to outgoing connections, one of which could take a port between the look and the use.  Claimed by a
    name of the abstract kind, which belongs to the network and not to a file system, and goes with the process."""

    SIZE = 1500
    FIRST = range(12000, 30000, SIZE)

    def __init__(self):
        self.claim, self.ports = None, None

    def _take(self):
        for first in random.sample(self.FIRST, len(self.FIRST)):
            self.claim = socket.socket(socket.AF_UNIX)
            try:
                self.claim.bind(f"\0angzarr-test-ports-{first}")
            except OSError:
                self.claim.close()
                continue
            return range(first, first + self.SIZE)
        return range(self.FIRST.start, self.FIRST.stop)  # more runs than ranges: they share

    def find(self, count):
        if self.ports is None:
            taken = self._take()
            # In turn: one that was given and is not listened on yet is not given to another.
            self.ports = itertools.cycle(random.sample(taken, len(taken)))
        found = []
        while len(found) < count:
            port = next(self.ports)
            with socket.socket() as s:
                s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                try:
                    s.bind(("127.0.0.1", port))
                except OSError:
                    continue
            if port not in found:
                found.append(port)
        return found


_ports = _Ports()


def free_ports(count):
    """Ports of 127.0.0.1 that nobody listens on, all different."""
    return _ports.find(count)


class Process:
    """A child with its output in one file.  It is killed when the thread that started it ends, whatever happens."""

    def __init__(self, name, argv, folder, env=None):
        self.name = name
        self.argv = [str(a) for a in argv]
        self.log_path = os.path.join(folder, f"{name}.log")
        self.env = dict(os.environ, **(env or {}))
        self.popen = None
        self._from = 0        # where the output of this run begins
        self._complained = 0

    def start(self):
        assert self.popen is None or self.popen.poll() is not None, f"{self.name} runs already"
        with open(self.log_path, "ab") as log:
            self._from = log.tell()
            self.popen = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", *self.argv],
                stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, env=self.env,
            )
        if self not in alive:
            alive.append(self)
        return self

    @property
    def pid(self):
        return self.popen.pid

    def running(self):
        return self.popen is not None and self.popen.poll() is None

    def log(self, whole=False):
        """The output since the last start, or all of it."""
        try:
            with open(self.log_path, "rb") as f:
                f.seek(0 if whole else self._from)
                return f.read().decode(errors="replace")
        except FileNotFoundError:
            return ""

    def wait_for_line(self, match, timeout=60):
        """Waits for a line of this run for which match(line) is true; fails at once when the process ends."""
        def found():
            ended = not self.running()
            for line in self.log().splitlines():
                if match(line):
                    return line
            if ended:
                raise RuntimeError(f"{self.name} ended with status {self.popen.returncode}:\n{self.log()[-6000:]}")
            return None
        return eventually(found, timeout, what=f"{self.name} to say what is waited for; so far:\n{self.log()[-6000:]}")

    def signal(self, sig):
        if self.running():
            self.popen.send_signal(sig)

    def kill(self):
        self.signal(signal.SIGKILL)
        return self.wait(10)

    def terminate(self, timeout=20):
        """SIGTERM, then the exit status."""
        self.signal(signal.SIGTERM)
        return self.wait(timeout)

    def wait(self, timeout=20):
        try:
            return self.popen.wait(timeout * SCALE)
        except subprocess.TimeoutExpired:
            raise NotInTime(f"{self.name} (pid {self.pid}) did not end within {timeout * SCALE:g} s") from None

    def close(self):
        """Ends it, by force if it must be; forgets it."""
        if self.running():
            self.signal(signal.SIGCONT)
            self.signal(signal.SIGTERM)
            try:
                self.popen.wait(10 * SCALE)
            except subprocess.TimeoutExpired:
                self.signal(signal.SIGKILL)
                self.popen.wait()
        with contextlib.suppress(ValueError):
            alive.remove(self)
            closed.append((f"{self.name} (closed)", self.log(whole=True)))
        self.complain()

    def complain(self):
        """Notes what a sanitizer has to say about this process, once."""
        found = COMPLAINT.search(self.log(whole=True), self._complained)
        if found:
            text = self.log(whole=True)
            complaints.append(f"{self.name}:\n{text[found.start():found.start() + 8000]}")
            self._complained = len(text)


def tails(lines=60):
    """(name, last lines) of each process that is known, for the report of a failed test."""
    known = [(p.name + ("" if p.running() else f" (ended: {p.popen.returncode})"), p.log(whole=True)) for p in list(alive)]
    return [(name, "\n".join(text.splitlines()[-lines:])) for name, text in known + closed]


def in_thread(fn, *args):
    """Runs fn beside the test; .result() joins and gives its result or raises its exception."""
    class Job(threading.Thread):
        def run(self):
            self.outcome = self.error = None
            try:
                self.outcome = fn(*args)
            except BaseException as e:  # handed on by result()
                self.error = e

        def result(self, timeout=60):
            self.join(timeout * SCALE)
            if self.is_alive():
                raise NotInTime(f"{fn.__name__} is not done within {timeout * SCALE:g} s")
            if self.error is not None:
                raise self.error
            return self.outcome
    job = Job(daemon=True)
    job.start()
    return job
