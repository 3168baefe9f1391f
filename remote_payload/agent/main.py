"""Where every process of the agent begins: `serve`, `serve-bulk`, `keeper`, `supervise`, `build-env`, `boot`, …"""

from __future__ import annotations

import sys
from typing import List

USAGE = 64


def main(argv: List[str]) -> int:
    """Run one role until it ends.

    Args:
        argv: the role's name, then its own arguments.

    Returns:
        The process's exit code. Never 2, 66, 126 or 127: to the bootstrap these mean "not a usable Python".
    """
    role = argv[0] if argv else ""
    # Imported by role, the only place where the agent does so: keeper and supervise stay resident and must be small.
    if role in ("serve", "serve-bulk"):
        from remote_payload.agent.wire.server import serve

        return serve(0, 1, role == "serve-bulk")
    if role == "keeper":
        from remote_payload.agent.run.keeper import main as keeper_main

        return keeper_main(argv[1:])
    if role == "supervise":
        from remote_payload.agent.run.supervisor import main as supervise_main

        return supervise_main(argv[1:])
    if role == "standby":
        from remote_payload.agent.run.standby import main as standby_main

        return standby_main(argv[1:])
    if role == "boot":
        from remote_payload.agent.run.boot import main as boot_main

        return boot_main(argv[1:])
    if role == "build-env":
        from remote_payload.agent.run.envbuild import main as build_env_main

        return build_env_main(argv[1:])
    sys.stderr.write("orch agent: unknown role {!r}\n".format(role))
    return USAGE
