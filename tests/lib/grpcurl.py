"""grpcurl: a client that knows an address and nothing else."""

import functools
import json
import os
import pathlib
import subprocess

from lib import procs

ROOT = pathlib.Path(__file__).resolve().parents[2]


@functools.cache
def path():
    """Where it is; built when it is not there yet."""
    return subprocess.run([ROOT / "scripts/grpcurl.sh"], stdout=subprocess.PIPE, text=True, check=True).stdout.strip()


def environment():
    """One in which the command `grpcurl` is found."""
    return dict(os.environ, PATH=f"{os.path.dirname(path())}{os.pathsep}{os.environ['PATH']}")


def run(address, *args, data=None, options=(), timeout=30):
    """(exit status, standard output, standard error)"""
    argv = [path(), "-plaintext", *options, *(() if data is None else ("-d", json.dumps(data))), address, *args]
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=timeout * procs.SCALE)
    return done.returncode, done.stdout, done.stderr


def told(address, *args, **options):
    """What it prints when it succeeds."""
    status, out, err = run(address, *args, **options)
    assert status == 0, err
    return out


def answered(*args, **options):
    """The answer of a call, from JSON."""
    return json.loads(told(*args, **options))
