"""Load and random faults; then every command that anybody sent is accounted for.

    ANGZARR_FAULTS_COMMANDS   answered OK at least (default 1000; the long form is 100000)
    ANGZARR_FAULTS_COUNT      faults at least (default 4, of the long form 54: each kind three times); more, one after the other, until the
                              commands are done
    ANGZARR_FAULTS_IN_FLIGHT  commands under way at once in each domain (default 32, of the long form 256)
"""

import os
import random
import signal
import sys
import time

import pytest

from lib import checker, logic as logic_module, procs
from lib.client import OPEN, Status, numbers
from lib.procs import SCALE, Process, free_ports, in_thread
from lib.proxy import ADD_OFFSETS, ADD_PARTITIONS, END_TXN, FETCH, HEARTBEAT, PRODUCE, TRANSACTION, TXN_OFFSET_COMMIT
from faults_lib import are_members
from rules_lib import partition_of, root_in
from storm import Storm

COMMANDS = int(os.environ.get("ANGZARR_FAULTS_COMMANDS", "1000"))
LONG = COMMANDS > 10000
COUNT = int(os.environ.get("ANGZARR_FAULTS_COUNT", "54" if LONG else "4"))
IN_FLIGHT = int(os.environ.get("ANGZARR_FAULTS_IN_FLIGHT", "256" if LONG else "32"))
DOMAINS = ("order", "cart")
PARTITIONS = 6
SESSION = 6      # seconds, worker.session_timeout
RECOVERY = 60    # within which every partition must answer after a fault is over


class Faults:
    """Each makes one fault, waits, and undoes it."""

    def __init__(self, system, chance):
        self.system, self.cluster, self.proxy, self.chance = system, system.cluster, system.proxy, chance

    def wait(self, least, most):
        time.sleep(self.chance.uniform(least, most))

    def path(self):
        return self.chance.choice(self.system.roles).path

    # ---- processes

    def _restart(self, role, end):
        end(role)
        self.wait(0, 2)
        role.launch()
        return role.name

    def kill_worker(self):
        return self._restart(self.chance.choice(self.system.workers), lambda w: w.kill())

    def kill_worker_for_long(self):
        """Its partitions go to others, and come back."""
        worker = self.chance.choice(self.system.workers)
        worker.kill()
        self.wait(SESSION + 1, SESSION + 3)
        worker.launch()
        return worker.name

    @staticmethod
    def _terminate(role):
        assert role.terminate(30) == 0, f"{role.name} did not end well:\n{role.log()[-4000:]}"

    def terminate_worker(self):
        return self._restart(self.chance.choice(self.system.workers), self._terminate)

    def kill_gateway(self):
        return self._restart(self.chance.choice(self.system.gateways), lambda g: g.kill())

    def stop_worker(self):
        """Longer than its session, sometimes."""
        worker = self.chance.choice(self.system.workers)
        worker.signal(signal.SIGSTOP)
        self.wait(1, SESSION + 4)
        worker.signal(signal.SIGCONT)
        return worker.name

    # ---- brokers

    def kill_broker(self):
        node = self.chance.choice(self.cluster.nodes)
        node.kill()
        self.wait(0, 5)
        self.cluster.heal()
        return node.number

    def stop_broker(self):
        """Longer than its session, sometimes."""
        node = self.chance.choice(self.cluster.nodes)
        node.pause()
        self.wait(1, 8)
        self.cluster.heal()
        return node.number

    def roll_broker(self):
        node = self.chance.choice(self.cluster.nodes)
        node.restart()
        self.cluster.wait_in_sync()
        return node.number

    def move_leaders(self):
        moved = []
        wanted = [t for t in self.cluster.metadata() if t.startswith(self.system.prefix) or t.startswith("__")]
        for _ in range(8):
            topic = self.chance.choice(sorted(wanted))
            found = self.cluster.metadata(topic)[topic]
            partition = found[self.chance.choice(sorted(found))]
            to = self.chance.choice(partition.replicas)
            self.cluster.move_leader(topic, partition.number, to)
            moved.append(f"{topic}/{partition.number} to {to}")
        return moved

    # ---- the net

    def _net(self, how, most):
        path, node = self.path(), self.chance.choice([None, 1, 2, 3])
        getattr(self.proxy, how)(path, node)
        self.wait(0.5, most)
        self.proxy.heal(path, node)
        return path, node

    def cut(self):
        return self._net("cut", SESSION + 3)

    def freeze(self):
        return self._net("freeze", SESSION + 3)

    def refuse(self):
        return self._net("refuse", 4)

    def blink(self):
        """All connections of one process end, several times."""
        path = self.path()
        for _ in range(5):
            self.proxy.cut(path)
            self.proxy.heal(path)
            self.wait(0, 0.5)
        return path

    def _rule(self, make, most, api, **match):
        transactional = api != PRODUCE and set(TRANSACTION) & {*(api if isinstance(api, tuple) else (api,))}
        path = self.chance.choice(self.system.workers).path if transactional else self.path()
        rule = make(client=path, api=api, **match)
        self.wait(1, most)
        rule.remove()
        return rule

    def slow_transactions(self):
        return self._rule(lambda **m: self.proxy.delay_answer(self.chance.randint(20, 300), **m), 5, api=TRANSACTION)

    def slow_fetch(self):
        return self._rule(lambda **m: self.proxy.delay_request(self.chance.randint(20, 500), **m), 5, api=(FETCH, HEARTBEAT))

    def lost_answer(self):
        return self._rule(self.proxy.drop_answer, 8, api=self.chance.choice(TRANSACTION), times=1)

    def cut_at_request(self):
        make = self.chance.choice([self.proxy.cut_before, self.proxy.cut_after])
        api = self.chance.choice([PRODUCE, ADD_PARTITIONS, ADD_OFFSETS, TXN_OFFSET_COMMIT, END_TXN])
        return self._rule(make, 4, api=api, times=self.chance.randint(1, 3))

    def late_request(self):
        """It arrives when its sender has long given it up."""
        return self._rule(self.proxy.hold, 12, api=self.chance.choice(TRANSACTION), times=1)

    def all(self):
        return [self.kill_worker, self.kill_worker_for_long, self.terminate_worker, self.kill_gateway, self.stop_worker, self.kill_broker,
                self.stop_broker, self.roll_broker, self.move_leaders, self.cut, self.freeze, self.refuse, self.blink,
                self.slow_transactions, self.slow_fetch, self.lost_answer, self.cut_at_request, self.late_request]


@pytest.fixture
def logics(tmp_path):
    made = {}
    for domain, port in zip(DOMAINS, free_ports(len(DOMAINS))):
        made[domain] = Process(f"logic-{domain}", [sys.executable, logic_module.__file__, "--address", f"127.0.0.1:{port}"], str(tmp_path)).start()
        made[domain].address = f"127.0.0.1:{port}"
    for logic in made.values():
        logic.wait_for_line(lambda line: line == "ready")
    yield made
    for logic in made.values():
        logic.close()


@pytest.fixture
def storms(tmp_path, seed):
    made = []

    def start(system):
        for domain in DOMAINS:
            made.append(Storm(str(tmp_path / domain), system.addresses, domain, seed, clients=2, in_flight=IN_FLIGHT, roots=2000 if LONG else 200))
        return [storm.start() for storm in made]
    yield start
    for storm in made:
        storm.close()


def answered(storms):
    return sum(storm.ok() for storm in storms)


def still_there(system):
    for role in system.roles:
        assert role.running(), f"{role.name} ended by itself with status {role.popen.returncode}:\n{role.log()[-6000:]}"


class Probes:
    """After each fault: a new root in every partition of every domain, through every gateway in turn."""

    def __init__(self, system):
        self.system = system
        self.clients = [system.client(i) for i in range(len(system.gateways))]
        self.sent = {domain: [] for domain in DOMAINS}
        self.count = 0

    def _until_ok(self, client, domain, root, id, until):
        while True:
            try:
                return client.do(domain, root, id=id, key=id, timeout=3)
            except Status as e:
                assert e.name() in OPEN, f"{id} to {domain}: {e}"
                if time.monotonic() > until:
                    raise procs.NotInTime(f"not within {RECOVERY * SCALE:g} s after the fault: {id} of {domain}, partition "
                                          f"{partition_of(root, PARTITIONS)}: {e}") from e

    def send(self):
        """Returns when all are answered; the time it took."""
        begun, jobs = time.monotonic(), []
        for domain in DOMAINS:
            for partition in range(PARTITIONS):
                self.count += 1
                root, id, client = root_in(partition, PARTITIONS), f"probe-{self.count}", self.clients[self.count % len(self.clients)]
                jobs.append(in_thread(self._until_ok, client, domain, root, id, begun + RECOVERY * SCALE))
                self.sent[domain].append(checker.Sent(id, root, 1, "ok", (0,)))
        for job in jobs:
            still_there(self.system)
            assert numbers(job.result(RECOVERY + 10)) == [0]
        return time.monotonic() - begun


def make_faults(system, storms, probes, seed):
    chance = random.Random(seed)
    faults = Faults(system, chance)
    begun, count, bag = time.monotonic(), 0, []
    while count < COUNT or answered(storms) < COMMANDS:
        bag = bag or chance.sample(faults.all(), len(faults.all()))  # each once before any comes again
        fault = bag.pop()
        at = time.monotonic() - begun
        what = fault()
        still_there(system)
        back = probes.send()
        count += 1
        print(f"{at:6.1f} s {fault.__name__} {what}: over at {time.monotonic() - begun - back:.1f} s, all answer after {back:.1f} s, "
              f"{answered(storms)} OK", flush=True)
        faults.wait(0, 2)


@pytest.mark.timeout(6 * 3600 if LONG else 900)
def test_every_command_is_accounted_for(cluster, make_system, logics, storms, seed):
    print(f"seed {seed}")
    system = make_system({d: logics[d].address for d in DOMAINS}, workers=3, gateways=2, partitions=PARTITIONS).up(120)
    running = storms(system)
    for storm in running:
        storm.wait_ok(50, 120)
    probes = Probes(system)
    make_faults(system, running, probes, seed)
    for domain in DOMAINS:
        are_members(cluster, system, len(system.workers), domain)
    again = [storm.again() for storm in running]
    client = system.client()
    for storm, tried in zip(running, again):
        sent = storm.finish()
        records = checker.prove(system, client, storm.domain, sent + probes.sent[storm.domain])
        outcomes = {o: sum(s.outcome == o for s in sent) for o in ("ok", "refused", "open")}
        print(f"{storm.domain}: {outcomes}, {tried} sent again, {len(records)} records")
        assert outcomes["open"] == 0, "everything runs and is reachable: nothing may stay open"
    still_there(system)
