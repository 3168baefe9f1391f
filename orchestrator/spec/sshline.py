"""The login line people paste (`ssh -p 38076 root@host`), read word by word and never run. Pure."""

from __future__ import annotations

import difflib
import re
import shlex
from dataclasses import dataclass, field
from typing import NoReturn
from urllib.parse import unquote

from orchestrator.errors import UsageError

LOCAL = "local"
"""Stands for this very machine, without SSH."""

NO_PASSWORD = "orch asks for it once, or takes it from the keyring or from ORCH_PASSWORD_<HOST> in the environment"
EXAMPLE = "ssh -p 38076 root@connect.example.com"

_FLAGS = frozenset("46AaCgKkNnqTtvXxYf")
"""Flags that change nothing here: orch opens its own channels."""
_VALUED = frozenset("pliJoLRDFSWweBbcmEIOQP")
_REFUSED = {
    "L": "forwards a port; leave it out, `orch forward` does that",
    "R": "forwards a port; leave it out",
    "D": "forwards a port; leave it out",
    "F": "names another ssh_config; put the host into ~/.ssh/config instead",
}
_ALLOWED = {
    name.lower(): name
    for name in (
        "AddressFamily", "CertificateFile", "ConnectTimeout", "HostKeyAlias", "HostName", "IdentitiesOnly",
        "IdentityAgent", "IdentityFile", "PasswordAuthentication", "Port", "PreferredAuthentications", "ProxyJump",
        "PubkeyAuthentication", "User",
    )
}  # fmt: skip
_HARMLESS = frozenset((
    "compression", "controlmaster", "controlpath", "controlpersist", "exitonforwardfailure", "forwardagent", "loglevel",
    "requesttty", "sendenv", "serveralivecountmax", "serveraliveinterval", "tcpkeepalive", "visualhostkey",
))  # fmt: skip
_UNCHECKED_KEYS = frozenset(("stricthostkeychecking", "userknownhostsfile", "globalknownhostsfile", "checkhostip"))
_OTHER_TOOLS = frozenset((
    "scp", "sftp", "rsync", "mosh", "telnet", "ssh-copy-id", "ssh-keygen", "ssh-add", "putty", "plink", "pscp", "curl",
    "wget", "ftp", "docker", "kubectl", "sudo", "autossh",
))  # fmt: skip
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_HOST = re.compile(r"[\w.%:-]{1,255}")
_USER = re.compile(r"[^\s:/;|&<>$`\"'\\()*?!#-][^\s:/;|&<>$`\"'()*?!#]{0,127}")


@dataclass
class SshLine:
    """What a login line says (see orchestrator.remote.target.SshTarget for the fields)."""

    host: str = ""
    port: int | None = None
    user: str | None = None
    identity_files: list[str] = field(default_factory=list)
    jump: str | None = None
    options: list[tuple[str, str]] = field(default_factory=list)

    def typed(self) -> str:
        """Return the plain line that says host, user and port."""
        port = f"-p {self.port} " if self.port else ""
        user = f"{self.user}@" if self.user else ""
        return f"ssh {port}{user}{self.host or 'HOST'}"


def read_ssh_line(line: str) -> SshLine:
    """Read a login line.

    Args:
        line: `ssh -p 38076 root@h`, `root@h`, `h`, `root@h:2222`, `ssh://root@h:2222`, with -i, -J, -l and -o K=V.

    Raises:
        UsageError: it is another tool's line, holds a password or a command, or names no host; the hint says what to
            type. No word of the line that could be a password is repeated.
    """
    if _CONTROL.search(line.strip()):
        raise UsageError("the login line holds a line break or a control character", f"Type one line: {EXAMPLE}")
    words = _drop_command(_split(line.strip()))
    found = SshLine()
    rest: list[str] = []
    while words:
        word = words.pop(0)
        if word == "--":
            rest += words
            break
        if word.startswith("-") and len(word) > 1:
            _option(found, word, words)
        else:
            rest.append(word)
    _destination(found, rest)
    return found


def _split(line: str) -> list[str]:
    lexer = shlex.shlex(line, posix=True, punctuation_chars=False)
    lexer.whitespace_split = True
    lexer.commenters = ""
    lexer.escape = ""  # C:\keys\id stays what it is
    try:
        return list(lexer)
    except ValueError:
        raise UsageError("a quote in the login line is not closed", f"Type it like: {EXAMPLE}") from None


def _drop_command(words: list[str]) -> list[str]:
    """Take `ssh` off the front; refuse what is another program."""
    if words and words[0] in ("$", "#", ">", "%"):
        words = words[1:]
    if not words:
        raise UsageError("the login line is empty", f"Type it like: {EXAMPLE}")
    name = re.split(r"[\\/]", words[0])[-1].lower().removesuffix(".exe")
    if words[0].lower().startswith("ssh://"):
        return words
    if name == "ssh":
        return words[1:]
    if name == "sshpass":
        _password()
    if name in _OTHER_TOOLS and len(words) > 1:
        raise UsageError(f"this is a line for {name}, not for ssh", f"Type the ssh line: {EXAMPLE}")
    others = [word for word in words[1:] if not word.startswith("-")]
    is_typo = len(name) <= 6 and difflib.SequenceMatcher(None, name, "ssh").ratio() >= 0.6
    if "@" not in words[0] and (any("@" in word for word in others) or (is_typo and others)):
        fixed = shlex.join(["ssh", *words[1:]])
        raise UsageError(f"{words[0]!r} is not ssh", f"Type: {fixed}" if is_typo else f"Type it like: {EXAMPLE}")
    return words


def _password() -> NoReturn:
    raise UsageError("a password stands in the login line", f"Leave it out: {NO_PASSWORD}.")


def _option(found: SshLine, word: str, words: list[str]) -> None:
    """Read one word of options (`-tA`, `-p22`, `-p 22`)."""
    if word in ("-pw", "-P") or word.startswith("--pass"):
        _password()
    for index, letter in enumerate(word[1:], start=1):
        if letter in _FLAGS:
            continue
        if letter not in _VALUED:
            raise UsageError(f"the option -{letter} of the login line is not known", f"Type it like: {EXAMPLE}")
        if letter in _REFUSED or letter not in "pliJo":
            raise UsageError(f"the option -{letter} {_REFUSED.get(letter, 'is not used here; leave it out')}")
        value = word[index + 1 :] or (words.pop(0) if words else "")
        _set(found, letter, value)
        return


def _set(found: SshLine, letter: str, value: str) -> None:
    if not value or (value.startswith("-") and letter != "o"):
        raise UsageError(f"-{letter} of the login line has no value", f"Type it like: {EXAMPLE}")
    if letter == "p":
        found.port = _port(value)
    elif letter == "l":
        found.user = _user(value)
    elif letter == "i":
        found.identity_files.append(value)
    elif letter == "J":
        found.jump = _jump(value)
    else:
        _keyword(found, value)


def _keyword(found: SshLine, text: str) -> None:
    name, value = (part.strip() for part in re.match(r"([^=\s]*)(?:\s*=\s*|\s+)?(.*)", text, re.S).groups())  # type: ignore[union-attr]
    key = name.lower()
    if key in _UNCHECKED_KEYS:
        if value.lower() in ("yes", "ask", "accept-new"):
            return
        raise UsageError(f"orch always checks host keys, so -o {name} cannot be used", "Leave it out.")
    if key in _HARMLESS:
        return
    if key == "proxycommand":
        raise UsageError("-o ProxyCommand would run a command here", "Name the jump host instead: -J user@host")
    if key not in _ALLOWED:
        close = difflib.get_close_matches(key, list(_ALLOWED), 1)
        nearest = f"; did you mean {_ALLOWED[close[0]]!r}?" if close else ""
        raise UsageError(
            f"the option -o {name[:40]} cannot be used here{nearest}", "Leave it out, or put it into ~/.ssh/config."
        )
    if not value or value.startswith("-"):
        raise UsageError(f"-o {_ALLOWED[key]} has no value", f"Write -o {_ALLOWED[key]}=VALUE.")
    letter = {"port": "p", "user": "l", "identityfile": "i", "proxyjump": "J"}.get(key)
    if letter:
        _set(found, letter, value)
    else:
        found.options.append((_ALLOWED[key], value))


def _destination(found: SshLine, rest: list[str]) -> None:
    if not rest:
        raise UsageError("the login line names no host", f"Type it like: {found.typed()}")
    user, host, port = _address(rest[0])
    found.user = user or found.user
    found.host = host
    found.port = port or found.port
    if len(rest) > 1:
        raise UsageError("the login line goes on after the host", f"Type only: {found.typed()}")


def _address(text: str) -> tuple[str | None, str, int | None]:
    """Return (user, host, port) of `[ssh://][user@]host[:port]`."""
    is_url = text.lower().startswith("ssh://")
    body = text[6:].rstrip("/") if is_url else text
    login, at, rest = body.rpartition("@")
    if ":" in login:
        _password()
    user = _user(unquote(login) if is_url else login) if at else None
    bracket = re.fullmatch(r"\[([0-9A-Fa-f:.%\w]+)\](?::(.*))?", rest)
    if bracket:
        host, port = bracket[1], bracket[2]
    elif rest.count(":") == 1:
        host, port = rest.split(":")
    else:
        host, port = rest, None
    if not host:
        raise UsageError("the login line names no host", f"Type it like: {EXAMPLE}")
    if not _HOST.fullmatch(host) or host.startswith("-"):
        raise UsageError(f"{host[:60]!r} is not the name of a host", f"Type it like: {EXAMPLE}")
    return user, host, _port(port) if port is not None else None


def _user(text: str) -> str:
    if not _USER.fullmatch(text):
        raise UsageError("the user in the login line is not a name", f"Type it like: {EXAMPLE}")
    return text


def _port(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,9}", text, re.ASCII):
        raise UsageError("the port in the login line is not a number", f"Type it like: {EXAMPLE}")
    if not 1 <= int(text) <= 65535:
        raise UsageError(f"port {text} is out of range", "Ports go from 1 to 65535.")
    return int(text)


def _jump(text: str) -> str:
    if text.lower() != "none":
        for hop in text.split(","):
            _address(hop)
    return text
