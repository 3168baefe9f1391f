"""Verbs about hosts. Parsing only."""

from __future__ import annotations

from typing import Annotated

import typer

from orchestrator.cli import complete
from orchestrator.cli.boundary import command
from orchestrator.cli.job_cmds import Trust, Yes

Name = Annotated[str, typer.Argument(help="The host's name.", autocompletion=complete.hosts)]
Names = Annotated[list[str], typer.Argument(metavar="NAME", help="Hosts.", autocompletion=complete.hosts)]


def register(app: typer.Typer) -> None:
    """Add the verbs of this module to the program."""
    group = typer.Typer(help="The inventory of hosts.", no_args_is_help=True, rich_markup_mode=None)
    group.command("add")(command(add))
    group.command("list")(command(list_hosts))
    group.command("show")(command(show))
    group.command("rm")(command(remove))
    group.command("rename")(command(rename))
    group.command("key")(command(key))
    group.command("trust")(command(trust))
    group.command("pause")(command(pause))
    group.command("resume")(command(resume))
    group.command("adopt")(command(adopt))
    group.command("autostart")(command(autostart))
    app.add_typer(group, name="host")
    app.command("exec", context_settings={"allow_interspersed_args": False})(command(execute))
    app.command("ssh")(command(ssh))
    app.command("forward")(command(forward))


def add(
    name: Annotated[str, typer.Argument(help="A name of your own.")],
    line: Annotated[str, typer.Argument(help='The login line, as in "ssh -p 38076 root@host"; or `local`.')],
    profile: Annotated[str, typer.Option(help="Provider profile.")] = "auto",
    tag: Annotated[list[str] | None, typer.Option("--tag", help="A tag (again for more).")] = None,
    root: Annotated[str | None, typer.Option(help="Folder for orch's spool on the host.")] = None,
    no_check: Annotated[bool, typer.Option("--no-check", help="Only write it down.")] = False,
    accept_new: Trust = False,
) -> int:
    """Add a host (or refresh its login line), meet it, and check it.

    \b
    orch host add box "ssh -p 38076 root@connect.example.com"
    orch host add here local
    """
    from orchestrator.cli import host_views

    return host_views.add(host_views.NewHost(name, line, profile, tuple(tag or ()), root), not no_check, accept_new)


def list_hosts() -> int:
    """List the hosts."""
    from orchestrator.cli import host_views

    return host_views.list_hosts()


def show(name: Name) -> int:
    """Show what is known of a host."""
    from orchestrator.cli import host_views

    return host_views.show(name)


def remove(name: Name, yes: Yes = False) -> int:
    """Forget a host on this laptop; nothing is changed on the host."""
    from orchestrator.cli import host_views

    return host_views.remove(name, yes)


def rename(name: Name, new: Annotated[str, typer.Argument(help="The new name.")]) -> int:
    """Give a host another name."""
    from orchestrator.cli import host_views

    return host_views.rename(name, new)


def key(name: Name, accept_new: Trust = False) -> int:
    """Install a key, so that no password is asked again."""
    from orchestrator.cli import host_views

    return host_views.install_key(name, accept_new)


def trust(
    name: Name,
    replace: Annotated[bool, typer.Option("--replace", help="Replace a key that changed.")] = False,
    yes: Yes = False,
) -> int:
    """Show a host's key and trust it."""
    from orchestrator.cli import host_views

    return host_views.trust(name, replace, yes)


def pause(names: Names) -> int:
    """Start nothing new on a host; what runs goes on."""
    from orchestrator.cli import queue_view

    return queue_view.pause(names, on=True)


def resume(names: Names) -> int:
    """Let a paused host's queue go on."""
    from orchestrator.cli import queue_view

    return queue_view.pause(names, on=False)


def adopt(
    name: Name,
    host_id: Annotated[
        str | None, typer.Option("--from", metavar="HOST_ID", help="Whose queue, where several lie there.")
    ] = None,
    yes: Yes = False,
) -> int:
    """Make another host's queue this host's own.

    After a container was cloned, or its disk or image was used for another one: the jobs that waited go on here.
    """
    from orchestrator.cli import queue_view

    return queue_view.adopt(name, host_id, yes)


def autostart(
    name: Name, off: Annotated[bool, typer.Option("--off", help="No more; what was set up is taken away.")] = False
) -> int:
    """Let a host's queue go on by itself after a reboot.

    The provider's boot script does it, else your crontab there, else a systemd unit of yours.
    """
    from orchestrator.cli import queue_view

    return queue_view.autostart(name, on=not off)


def execute(
    words: Annotated[list[str], typer.Argument(metavar="HOST... -- CMD", help="Hosts, then the command.")],
    everywhere: Annotated[bool, typer.Option("--all", help="On every host.")] = False,
    accept_new: Trust = False,
) -> int:
    """Run one command on hosts.

    Exits with the command's own code (the highest of several hosts), 255 when a host could not be reached.

    \b
    orch exec box -- nvidia-smi
    orch exec --all -- df -h /root
    """
    from orchestrator.cli import exec_view

    return exec_view.execute(words, everywhere, accept_new)


def ssh(
    where: Annotated[str, typer.Argument(help="Host or job.", autocompletion=complete.hosts_and_jobs)],
) -> int:
    """Open a shell on a host or in a job's workdir.

    The system's ssh does it, with the hosts orch knows.
    """
    from orchestrator.cli import reach_views

    return reach_views.ssh(where)


def forward(
    where: Annotated[str, typer.Argument(help="Host or job.", autocompletion=complete.hosts_and_jobs)],
    port: Annotated[str, typer.Argument(metavar="PORT[:REMOTE]", help="Port here, and there when it differs.")],
) -> int:
    """Bring a port of the host here until Ctrl-C.

    \b
    orch forward box 6006            TensorBoard there is http://127.0.0.1:6006 here
    orch forward train 8080:80
    """
    from orchestrator.cli import reach_views

    return reach_views.forward(where, port)
