"""One Kafka broker (KRaft) on free ports of 127.0.0.1, for tests, benchmarks and the quick start.

As a program:  python3 tests/lib/kafka.py [--dir DIR]   prints `bootstrap 127.0.0.1:PORT` and runs until SIGTERM or SIGINT.
Only the standard library.
"""

import argparse
import base64
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import uuid

if __package__ in (None, ""):
    sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from lib.procs import Process, free_ports  # noqa: E402

ROOT = pathlib.Path(__file__).resolve().parents[2]

SERVER = """\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller}
listeners=BROKER://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=BROKER://127.0.0.1:{port}
listener.security.protocol.map=BROKER:PLAINTEXT,CONTROLLER:PLAINTEXT
inter.broker.listener.name=BROKER
controller.listener.names=CONTROLLER
log.dirs={dir}/data
auto.create.topics.enable=false
default.replication.factor=1
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=4
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=500
transaction.abort.timed.out.transaction.cleanup.interval.ms=1000
log.cleaner.backoff.ms=500
log.cleaner.min.cleanable.ratio=0.01
log.cleaner.dedupe.buffer.size=4194304
log.retention.check.interval.ms=5000
log.initial.task.delay.ms=1000
controlled.shutdown.enable=false
broker.session.timeout.ms=3000
broker.heartbeat.interval.ms=500
num.network.threads=2
num.io.threads=4
background.threads=2
"""

LOGGING = """\
<?xml version="1.0" encoding="UTF-8"?>
<Configuration status="ERROR">
  <Appenders><Console name="out"><PatternLayout pattern="%d{HH:mm:ss.SSS} %p %c{1} %m%n"/></Console></Appenders>
  <Loggers><Root level="WARN"><AppenderRef ref="out"/></Root>
    <Logger name="kafka.server.KafkaRaftServer" level="INFO"/>
    <Logger name="org.apache.kafka.server" level="WARN"/></Loggers>
</Configuration>
"""


def jars():
    return subprocess.run([ROOT / "scripts/kafka-jars.sh"], check=True, stdout=subprocess.PIPE, text=True).stdout.strip()


def java():
    home = os.environ.get("JAVA_HOME")
    for path in ([os.path.join(home, "bin/java")] if home else []) + ["/usr/bin/java", shutil.which("java")]:
        if path and os.access(path, os.X_OK):
            return path
    raise RuntimeError("no java: run scripts/install-deps.sh kafka")


class Kafka:
    def __init__(self, folder=None, settings=None):
        self.folder = tempfile.mkdtemp(prefix="angzarr-kafka-") if folder is None else str(folder)
        self.own_folder = folder is None
        os.makedirs(self.folder, exist_ok=True)
        self.port, controller = free_ports(2)
        self.bootstrap = f"127.0.0.1:{self.port}"
        self.classpath = os.path.join(jars(), "*")
        self.properties = os.path.join(self.folder, "server.properties")
        text = SERVER.format(dir=self.folder, port=self.port, controller=controller)
        text += "".join(f"{k}={v}\n" for k, v in (settings or {}).items())  # the last of two lines counts
        pathlib.Path(self.properties).write_text(text)
        pathlib.Path(self.folder, "log4j2.xml").write_text(LOGGING)
        self.process = Process("kafka", self._java(["-Xms256m", "-Xmx512m"], "kafka.Kafka", self.properties), self.folder)
        cluster = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        if cluster.startswith("-"):
            cluster = "A" + cluster[1:]
        self.tool("kafka.tools.StorageTool", "format", "-t", cluster, "-c", self.properties)

    def _java(self, options, main, *args):
        return [java(), "-XX:+UseSerialGC", *options, f"-Dlog4j2.configurationFile={self.folder}/log4j2.xml", "-cp", self.classpath,
                main, *args]

    def tool(self, main, *args, check=True):
        """Runs one of Kafka's command line classes; returns its output."""
        done = subprocess.run(self._java(["-Xmx128m", "-XX:TieredStopAtLevel=1"], main, *args), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True)
        if check and done.returncode != 0:
            raise RuntimeError(f"{main} {' '.join(args)}: status {done.returncode}\n{done.stdout}")
        return done.stdout

    def consumer_groups(self, *args, check=True):
        return self.tool("org.apache.kafka.tools.consumer.group.ConsumerGroupCommand", "--bootstrap-server", self.bootstrap, *args, check=check)

    def start(self):
        """Returns when the broker serves."""
        self.process.start()
        self.process.wait_for_line(lambda line: "Kafka Server started" in line, timeout=90)
        return self

    def kill(self):
        self.process.kill()

    def pause(self):
        self.process.signal(signal.SIGSTOP)

    def resume(self):
        self.process.signal(signal.SIGCONT)

    def stop(self):
        self.process.terminate(60)

    def close(self):
        self.process.close()
        if self.own_folder:
            shutil.rmtree(self.folder, ignore_errors=True)


def main():
    parser = argparse.ArgumentParser(description="Runs one Kafka broker for development until it is told to stop.")
    parser.add_argument("--dir", help="keep data and logs here (default: a temporary folder)")
    args = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    signal.signal(signal.SIGINT, lambda *_: sys.exit(0))
    broker = Kafka(args.dir)
    try:
        broker.start()
        print("bootstrap", broker.bootstrap, flush=True)
        broker.process.popen.wait()
        print(broker.process.log()[-4000:], file=sys.stderr)
        return 1
    finally:
        broker.close()


if __name__ == "__main__":
    sys.exit(main())
