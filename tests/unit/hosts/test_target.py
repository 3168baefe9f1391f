"""The login line: what people paste, and what they paste by mistake."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.errors import UsageError
from orchestrator.hosts.target import SshTarget, parse_ssh_line


@pytest.mark.parametrize(
    ("line", "target"),
    [
        ("ssh -p 38076 root@h.example.com", SshTarget("h.example.com", 38076, "root")),
        ("  $ ssh -p38076 root@h ", SshTarget("h", 38076, "root")),
        ("/usr/bin/ssh h", SshTarget("h")),
        (r"C:\Windows\System32\OpenSSH\ssh.exe h", SshTarget("h")),
        ("root@h", SshTarget("h", None, "root")),
        ("h", SshTarget("h")),
        ("root@h:2222", SshTarget("h", 2222, "root")),
        ("ssh root@h -p 2222", SshTarget("h", 2222, "root")),
        ("root@h -p 2222", SshTarget("h", 2222, "root")),
        ("ssh://root@h:2222", SshTarget("h", 2222, "root")),
        ("ssh ssh://h/", SshTarget("h")),
        ("ssh -l me h", SshTarget("h", None, "me")),
        ("ssh first@last@bastion", SshTarget("bastion", None, "first@last")),
        ("ssh -tAC -vv h", SshTarget("h")),
        ("ssh -Ap 22 h", SshTarget("h", 22)),
        ("ssh -i ~/.ssh/id_a -i '/my keys/b' h", SshTarget("h", identity_files=("~/.ssh/id_a", "/my keys/b"))),
        (r"ssh -i C:\keys\id h", SshTarget("h", identity_files=(r"C:\keys\id",))),
        ("ssh -J me@gate:22,second h", SshTarget("h", jump="me@gate:22,second")),
        ("ssh -o Port=99 -oUser=me -o 'ProxyJump none' h", SshTarget("h", 99, "me", jump="none")),
        ("ssh -o identitiesonly=yes h", SshTarget("h", options=(("IdentitiesOnly", "yes"),))),
        ("ssh -o ServerAliveInterval=30 -o StrictHostKeyChecking=accept-new h", SshTarget("h")),
        ("ssh [2001:db8::1]:2222", SshTarget("2001:db8::1", 2222)),
        ("ssh me@2001:db8::1", SshTarget("2001:db8::1", None, "me")),
        ("ssh -- h", SshTarget("h")),
    ],
)
def test_lines_people_paste(line: str, target: SshTarget) -> None:
    assert parse_ssh_line(line) == target


@pytest.mark.parametrize(
    ("line", "sentence", "hint"),
    [
        ("", "is empty", "ssh -p 38076"),
        ("ssh", "names no host", "ssh HOST"),
        ("ssh -p 22", "names no host", "ssh -p 22 HOST"),
        ("ssh -p", "-p of the login line has no value", ""),
        ("ssh -p 70000 h", "port 70000 is out of range", "1 to 65535"),
        ("ssh -p 0 h", "port 0 is out of range", ""),
        ("ssh -p x h", "the port in the login line is not a number", ""),
        ("root@h:22x", "the port in the login line is not a number", ""),
        ("scp -P 38076 a.py root@h:/root", "a line for scp", "Type the ssh line"),
        ("sftp root@h", "a line for sftp", ""),
        ("shh -p 38076 root@h", "'shh' is not ssh", "Type: ssh -p 38076 root@h"),
        ("shs h", "'shs' is not ssh", "Type: ssh h"),
        ("connect root@h", "'connect' is not ssh", ""),
        ("ssh root@h nvidia-smi", "goes on after the host", "Type only: ssh root@h"),
        ("ssh -p 9 root@h hunter22", "goes on after the host", "Type only: ssh -p 9 root@h"),
        ("ssh -L 6006:127.0.0.1:6006 h", "-L forwards a port", ""),
        ("ssh -F /tmp/conf h", "-F names another ssh_config", ""),
        ("ssh -Z h", "-Z of the login line is not known", ""),
        ("ssh -W a:1 h", "-W is not used here", ""),
        ("ssh -o ProxyCommand='nc %h %p' h", "ProxyCommand would run a command", "-J"),
        ("ssh -o LocalCommand=id h", "LocalCommand cannot be used", ""),
        ("ssh -o IdentityOnly=yes h", "did you mean 'IdentitiesOnly'?", ""),
        ("ssh -o StrictHostKeyChecking=no h", "always checks host keys", "Leave it out"),
        ("ssh -o UserKnownHostsFile=/dev/null h", "always checks host keys", ""),
        ("ssh -J -oProxyCommand=x h", "-J of the login line has no value", ""),
        ("ssh -i -x h", "-i of the login line has no value", ""),
        ("ssh -l -x h", "-l of the login line has no value", ""),
        ("ssh -- -oProxyCommand=x", "is not the name of a host", ""),
        ("ssh me@-h", "is not the name of a host", ""),
        ("ssh -l $(id) h", "the user in the login line is not a name", ""),
        ("ssh 'h;id'", "is not the name of a host", ""),
        ("ssh 'h", "a quote in the login line is not closed", ""),
        ("ssh h\nssh other", "a line break or a control character", ""),
        ("ssh h\x1b[31m", "a line break or a control character", ""),
        ("local", "no SSH to it", ""),
    ],
)
def test_lines_that_are_refused(line: str, sentence: str, hint: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_ssh_line(line)
    assert sentence in caught.value.message
    assert hint in caught.value.hint
    assert "\n" not in caught.value.message


@pytest.mark.parametrize(
    "line",
    [
        "sshpass -p hunter22 ssh root@h", "root:hunter22@h", "ssh://root:hunter22@h:22", "ssh -pw hunter22 root@h",
        "plink -pw hunter22 root@h", "ssh -J me:hunter22@gate h", "ssh --password=hunter22 root@h",
        "ssh root@h hunter22",
    ],
)  # fmt: skip
def test_a_password_is_refused_and_never_repeated(line: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_ssh_line(line)
    assert "hunter22" not in caught.value.message + caught.value.hint


@given(st.text(st.characters(codec="utf-8"), max_size=60))
def test_no_text_breaks_it_and_nothing_that_looks_like_an_option_passes(text: str) -> None:
    try:
        target = parse_ssh_line(text)
    except UsageError as error:
        assert "\n" not in error.message
    else:
        for part in (target.host, target.user or "x", target.jump or "x", *target.identity_files):
            assert part and not part.startswith("-")
            assert part.isprintable() or part >= "\xa0"
