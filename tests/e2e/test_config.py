"""What is wrong with a configuration is said with file, line and what was expected; exit status 2."""

import pytest

from lib import angzarr

GOOD = """\
state: { path: ./data }
gateway: { address: "127.0.0.1:0", http: "" }
business_logic:
  - { domain: order, address: "127.0.0.1:1" }
"""

WRONG = [
    ("an unknown section", "projectors: []\n", 5, ["projectors"]),
    ("an unknown key", "worker: { idd: a }\n", 5, ["worker.idd"]),
    ("an unknown key in a list", "  - { domain: cart, address: \"127.0.0.1:1\", colour: red }\n", 5, ["colour"]),
    ("a word where a number belongs", "topology:\n  partitions: many\n", 6, ["topology.partitions", "many", "number"]),
    ("a number out of range", "topology:\n  partitions: 0\n", 6, ["topology.partitions", "0"]),
    ("a map where a word belongs", "worker:\n  id: { a: b }\n", 6, ["worker.id"]),
    ("a word where a map belongs", "worker: yes\n", 5, ["worker"]),
    ("a log type that does not exist", "log: { type: file }\n", 5, ["log.type", "file", "kafka", "embedded"]),
    ("a bad size", "limits: { message: huge }\n", 5, ["limits.message", "huge"]),
    ("a bad duration", "limits: { call_timeout: soon }\n", 5, ["limits.call_timeout", "soon"]),
    ("a bad domain", "  - { domain: Order, address: \"127.0.0.1:1\" }\n", 5, ["domain", "Order"]),
    ("a domain twice", "  - { domain: order, address: \"127.0.0.1:1\" }\n", 5, ["order"]),
    ("an address without a port", "  - { domain: cart, address: localhost }\n", 5, ["address", "localhost"]),
    ("a row without its address", "  - { domain: cart }\n", 5, ["address"]),
    ("a variable that is not set", "worker: { id: \"${ANGZARR_NOT_SET}\" }\n", 5, ["ANGZARR_NOT_SET"]),
    ("a key twice", "worker: { id: a }\nworker: { id: b }\n", 6, ["worker"]),
    ("no YAML", "worker: { id: [\n", None, []),
    ("a tab", "worker:\n\tid: a\n", 6, []),
]


def refused(folder, text, *args, env=None):
    (folder / "angzarr.yaml").write_text(text)
    status, out = angzarr.run(*(args or ("standalone", "--config", "angzarr.yaml")), cwd=folder, env=env)
    assert status == 2, out
    return out


@pytest.mark.parametrize("more, line, words", [row[1:] for row in WRONG], ids=[row[0] for row in WRONG])
def test_the_line_and_what_was_expected(folder, more, line, words):
    out = refused(folder, GOOD + more)
    assert f"angzarr.yaml:{line}:" in out if line else "angzarr.yaml:" in out
    for word in words:
        assert word in out


@pytest.mark.parametrize("name", ["enable.idempotence", "isolation.level", "group.id", "transactional.id", "acks"])
def test_properties_the_promises_rest_on_are_refused_by_name(folder, name):
    out = refused(folder, GOOD + f"log:\n  type: kafka\n  kafka:\n    bootstrap.servers: 127.0.0.1:1\n    {name}: all\n")
    assert "angzarr.yaml:9:" in out and name in out


def test_an_unknown_librdkafka_property_is_refused_by_name(folder):
    out = refused(folder, GOOD + "log:\n  type: kafka\n  kafka:\n    bootstrap.servers: 127.0.0.1:1\n    no.such.property: 1\n")
    assert "no.such.property" in out


def test_a_missing_file_is_named(folder):
    status, out = angzarr.run("standalone", "--config", "nowhere.yaml", cwd=folder)
    assert status == 2 and "nowhere.yaml" in out


def test_without_a_file_it_says_how_to_name_one(folder):
    status, out = angzarr.run("standalone", cwd=folder)
    assert status == 2 and "ANGZARR_CONFIG" in out and "--config" in out


def test_the_environment_names_the_file(folder):
    (folder / "other.yaml").write_text(GOOD + "nonsense: 1\n")
    status, out = angzarr.run("standalone", cwd=folder, env={"ANGZARR_CONFIG": "other.yaml"})
    assert status == 2 and "other.yaml:5:" in out


def test_a_wrong_value_in_the_environment_names_the_variable(folder):
    out = refused(folder, GOOD, env={"ANGZARR__TOPOLOGY__PARTITIONS": "many"})
    assert "ANGZARR__TOPOLOGY__PARTITIONS" in out and "many" in out


def test_a_bad_log_specification_names_its_variable(folder):
    out = refused(folder, GOOD, env={"ANGZARR_LOG": "shout"})
    assert "ANGZARR_LOG" in out and "shout" in out


@pytest.mark.parametrize("role", ["aggregate", "gateway", "stream"])
def test_only_standalone_runs_on_the_embedded_log(folder, role):
    out = refused(folder, GOOD, role, "--config", "angzarr.yaml")
    assert "embedded" in out and "standalone" in out


@pytest.mark.parametrize("args", [("dance",), (), ("standalone", "--confg", "x"), ("standalone", "--config")],
                         ids=["unknown role", "no role", "unknown option", "option without its value"])
def test_a_wrong_command_line_is_explained(folder, args):
    status, out = angzarr.run(*args, cwd=folder)
    assert status == 2 and "--help" in out


def test_help_names_the_roles(folder):
    status, out = angzarr.run("--help", cwd=folder)
    assert status == 0
    for word in ("standalone", "aggregate", "gateway", "stream", "--config", "ANGZARR_CONFIG"):
        assert word in out
