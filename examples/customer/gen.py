"""Generates the Python code of the .proto files and makes it importable.

It goes to $CUSTOMER_GEN, else to .gen beside this file, and is made again when a .proto file is newer.  `python gen.py`
does only that; `import gen` does it before anything else is imported.  $ANGZARR_PROTO names the folder that holds
angzarr/types.proto when this example was copied out of its repository.
"""

import fcntl
import os
import pathlib
import sys

HERE = pathlib.Path(__file__).resolve().parent
OUT = pathlib.Path(os.environ.get("CUSTOMER_GEN", HERE / ".gen")).resolve()
ANGZARR = pathlib.Path(os.environ.get("ANGZARR_PROTO", HERE.parent.parent / "proto")).resolve()

FILES = {
    ANGZARR: [f"angzarr/{name}.proto" for name in ("types", "component", "query", "business", "gateway")],
    HERE / "proto": ["examples/customer.proto"],
}


def outdated():
    stamp = OUT / "stamp"
    if not stamp.exists():
        return True
    made = stamp.stat().st_mtime
    return any((folder / name).stat().st_mtime > made for folder, names in FILES.items() for name in names)


def generate():
    from grpc_tools import protoc
    import grpc_tools

    well_known = pathlib.Path(grpc_tools.__file__).parent / "_proto"
    names = [name for names in FILES.values() for name in names]
    folders = [f"-I{folder}" for folder in (*FILES, well_known)]
    if protoc.main(["protoc", *folders, f"--python_out={OUT}", f"--grpc_python_out={OUT}", *names]) != 0:
        sys.exit("the .proto files could not be compiled: see above")
    (OUT / "stamp").touch()


def ensure():
    for folder, names in FILES.items():
        for name in names:
            if not (folder / name).exists():
                sys.exit(f"{folder / name} is missing: set ANGZARR_PROTO to the folder that holds angzarr/types.proto")
    OUT.mkdir(parents=True, exist_ok=True)
    with open(OUT / "lock", "w") as lock:  # a server and a client that start together do not write at the same time
        fcntl.flock(lock, fcntl.LOCK_EX)
        if outdated():
            generate()
    if str(OUT) not in sys.path:
        sys.path.insert(0, str(OUT))


ensure()

if __name__ == "__main__":
    print(f"generated into {OUT}")
