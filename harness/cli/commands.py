"""Which commands there are, in which module, and what `edgefarm --help` says of each.

Known without importing any of them: the help and the version come at once.
"""

COMMANDS: dict[str, dict[str, dict[str, str]]] = {
    "Evaluate a model": {
        "evaluation": {
            "run": "Quantize a model, run it on a device, compare with the emulator, judge, "
            "report.",
            "quantize": "Make the artifact of a model for a target, without a device.",
            "report": "Show all runs under a folder: a table here, and one self-contained page.",
        },
        "check": {
            "check": "Tell for each op of a model where it would run on a target, why, and what "
            "would help.",
        },
        "diagnosing": {
            "diagnose": "Say which layers lose how much by quantization, why, and which step "
            "helps.",
        },
        "tuning": {
            "tune": "Find the recipe that keeps a model within a budget: from cheap to dear, "
            "judged bit for bit.",
        },
        "demo": {
            "demo": "Evaluate EfficientNet-Lite0, float and int8, on a virtual Cortex-A76 board "
            "and on this host.",
        },
    },
    "Emulate and compare": {
        "emulation": {
            "emulate": "Compute, bit for bit, what a runtime would compute on a device.",
            "compare": "Compare two .npz files array by array, as integers; exit 1 when anything "
            "differs.",
            "verify": "Check our claim: hold every op of a model against a runtime, on random and "
            "extreme inputs.",
        },
    },
    "What there is": {
        "catalog": {
            "targets": "List the targets: machine, runtime, recipes, and what was verified on "
            "what.",
            "recipes": "List the named recipes, and the steps that can be added to one.",
            "profiles": "List the emulator's profiles.",
        },
    },
    "Devices": {
        "devices": {
            "device": "Devices: the inventory farm.toml in edgefarm's home folder. `host` is "
            "always in it.",
        },
        "boards": {
            "board": "Virtual boards and phones, under QEMU on this host.",
        },
    },
    "The farm": {
        "queue": {
            "submit": "Put a job in line for the farm's devices; prints its id.",
            "status": "Show how a job stands, or the newest jobs.",
            "watch": "Follow a job until it is done; the exit code is that of its outcome: 0, 1 "
            "or 3.",
            "cancel": "End a job of yours: at once in line, within seconds on a device.",
            "results": "Show a job's runs; exit code 0 when it passed, 4 when something looks "
            "wrong (WARN), 1 when the numbers fail, 3 the machine.",
            "logs": "Show what has happened to a job so far.",
        },
        "farm": {
            "worker": "Serve this lab host's devices: take jobs, probe, quarantine; log JSON lines "
            "on stderr.",
            "top": "Watch the farm: workers, devices, what runs where, and the line; Ctrl-C ends.",
            "doctor": "Look at this host, database, workers, devices and disk; exit 3 when "
            "something is amiss.",
            "metrics": "Print the farm's metrics for Prometheus, or serve them until Ctrl-C.",
            "clean": "Forget what can be made again: old artifacts, uploads, events and steps; "
            "results stay.",
        },
        "migration": {
            "migrate": "Bring the farm's database up to date with this edgefarm, after a backup.",
        },
        "server": {
            "server": "Serve the farm's queue over HTTP to those who have a token; docs/farm.md "
            "has the details.",
            "token": "Tokens: who may speak to the server.",
        },
        "nightly": {
            "nightly": "The nightly run: every model of a nightly.toml with every recipe on every "
            "device.",
        },
    },
}
"""By panel of the help and by module beside this one, which has a ``register(app)``. Each summary
is the first paragraph of the command's own help."""
