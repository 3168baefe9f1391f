"""Keys made without ssh-keygen."""

from __future__ import annotations

import subprocess
from pathlib import Path

import paramiko
import pytest

from orchestrator.loopback import make_key


def test_a_key_is_made_without_ssh_keygen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "keys" / "id_ed25519"
    with monkeypatch.context() as patch:
        patch.setenv("PATH", "")
        public = make_key(path)
    assert path.stat().st_mode & 0o777 == 0o600 and path.parent.stat().st_mode & 0o777 == 0o700
    assert make_key(path) == public, "a key that is there is kept"
    # OpenSSH and paramiko read the same key from it.
    told = subprocess.run(["ssh-keygen", "-y", "-f", str(path)], capture_output=True, text=True, check=True).stdout
    assert public.split()[:2] == told.split()[:2]
    assert paramiko.PKey.from_path(path).get_base64() == public.split()[1]


def test_a_missing_public_half_is_written_again(tmp_path: Path) -> None:
    public = make_key(tmp_path / "key")
    (tmp_path / "key.pub").unlink()
    assert make_key(tmp_path / "key") == public
