"""Limits of file trees laid out as on real hosts."""

from __future__ import annotations

from pathlib import Path

import pytest

from remote_payload.agent.machine import cgroup

GIB = 1024**3


class Tree:
    """A root folder with the files of /proc and /sys that tell limits."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.file(
            "proc/meminfo", f"MemTotal: {512 * GIB // 1024} kB\nMemFree: 5 kB\nMemAvailable: {500 * GIB // 1024} kB\n"
        )

    def file(self, path: str, text: object) -> None:
        where = self.root / path
        where.parent.mkdir(parents=True, exist_ok=True)
        where.write_text(f"{text}\n")

    def quota(self, cores: int = 128) -> float:
        return cgroup.cpu_quota(str(self.root), cores)

    def memory(self) -> cgroup.Memory:
        return cgroup.memory(str(self.root))


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return Tree(tmp_path)


def test_no_cgroup_at_all(tree: Tree) -> None:
    assert tree.quota(16) == 16
    assert tree.memory() == (None, 12 * GIB, 512 * GIB)


def test_v2_in_a_namespace(tree: Tree) -> None:
    tree.file("proc/self/cgroup", "0::/")
    tree.file("sys/fs/cgroup/cpu.max", "1600000 100000")
    tree.file("sys/fs/cgroup/memory.max", 64 * GIB)
    tree.file("sys/fs/cgroup/memory.current", 40 * GIB)
    tree.file("sys/fs/cgroup/memory.stat", f"anon 1\nfile 2\ninactive_file {30 * GIB}")
    assert tree.quota() == 16
    assert tree.quota(8) == 8
    assert tree.memory() == (64 * GIB, 10 * GIB, 512 * GIB)


def test_v2_without_limits(tree: Tree) -> None:
    tree.file("proc/self/cgroup", "0::/user.slice")
    tree.file("sys/fs/cgroup/user.slice/cpu.max", "max 100000")
    tree.file("sys/fs/cgroup/user.slice/memory.max", "max")
    assert tree.quota() == 128
    assert tree.memory().limit is None


def test_v2_nested_the_tightest_of_all_levels_counts(tree: Tree) -> None:
    tree.file("proc/self/cgroup", "0::/a/b/c")
    tree.file("proc/self/mountinfo", "31 23 0:28 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw,nsdelegate")
    tree.file("sys/fs/cgroup/a/cpu.max", "50000 100000")
    tree.file("sys/fs/cgroup/a/b/cpu.max", "max 100000")
    tree.file("sys/fs/cgroup/a/b/c/cpu.max", "400000 100000")
    tree.file("sys/fs/cgroup/a/memory.max", 8 * GIB)
    tree.file("sys/fs/cgroup/a/b/c/memory.max", 2 * GIB)
    tree.file("sys/fs/cgroup/a/b/c/memory.current", GIB)
    assert tree.quota() == 0.5
    assert tree.memory() == (2 * GIB, GIB, 512 * GIB)


def test_v1_in_a_container_without_namespace(tree: Tree) -> None:
    tree.file("proc/self/cgroup", "12:memory:/docker/abc\n5:cpu,cpuacct:/docker/abc\n0::/docker/abc")
    tree.file(
        "proc/self/mountinfo",
        "40 31 0:29 /docker/abc /sys/fs/cgroup/cpu,cpuacct ro - cgroup cgroup rw,cpu,cpuacct\n"
        "41 31 0:30 /docker/abc /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory",
    )
    tree.file("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", 50000)
    tree.file("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us", 100000)
    tree.file("sys/fs/cgroup/memory/memory.limit_in_bytes", 2 * GIB)
    tree.file("sys/fs/cgroup/memory/memory.usage_in_bytes", GIB)
    tree.file("sys/fs/cgroup/memory/memory.stat", f"cache 5\ntotal_inactive_file {GIB // 2}")
    assert tree.quota() == 0.5
    assert tree.memory() == (2 * GIB, GIB // 2, 512 * GIB)


def test_v1_without_limits_and_without_mountinfo(tree: Tree) -> None:
    tree.file("proc/self/cgroup", "5:cpu,cpuacct:/\n4:memory:/user")
    tree.file("sys/fs/cgroup/cpu/cpu.cfs_quota_us", -1)
    tree.file("sys/fs/cgroup/cpu/cpu.cfs_period_us", 100000)
    tree.file("sys/fs/cgroup/memory/memory.limit_in_bytes", 9223372036854771712)
    assert tree.quota() == 128
    assert tree.memory() == (None, 12 * GIB, 512 * GIB)


def test_v1_limits_of_a_folder_that_is_not_mounted_here(tree: Tree) -> None:
    tree.file("proc/self/cgroup", "4:memory:/outer/path\n3:cpu:/outer/path")
    tree.file("sys/fs/cgroup/memory/memory.limit_in_bytes", 3 * GIB)
    tree.file("sys/fs/cgroup/cpu/cpu.cfs_quota_us", 1200000)
    tree.file("sys/fs/cgroup/cpu/cpu.cfs_period_us", 100000)
    assert tree.quota() == 12
    assert tree.memory() == (3 * GIB, None, 512 * GIB)


def test_a_limit_above_the_machine_is_none(tree: Tree) -> None:
    tree.file("proc/self/cgroup", "0::/")
    tree.file("sys/fs/cgroup/memory.max", 1024 * GIB)
    assert tree.memory().limit is None


@pytest.mark.parametrize("text", ["", "garbage", "5 0", "0 100000", "1 2 3", "² 1", "-5 100"])
def test_nonsense_is_no_limit(tree: Tree, text: str) -> None:
    tree.file("proc/self/cgroup", "no colons\n0::/../..")
    tree.file("proc/self/mountinfo", "short\nx - y")
    tree.file("sys/fs/cgroup/cpu.max", text)
    tree.file("sys/fs/cgroup/memory.max", text)
    assert tree.quota(4) == 4
    assert tree.memory().limit is None


def test_a_mount_point_with_a_blank(tree: Tree) -> None:
    tree.file("proc/self/cgroup", "0::/")
    tree.file("proc/self/mountinfo", "31 23 0:28 / /sys/odd\\040place rw - cgroup2 none rw")
    tree.file("sys/odd place/cpu.max", "200000 100000")
    assert tree.quota() == 2


def test_this_very_machine() -> None:
    assert cgroup.cpu_quota() > 0
    total = cgroup.memory().total
    assert total is not None
    assert total > 0


def test_kills_for_want_of_memory_are_counted_where_the_kernel_does(tree: Tree) -> None:
    assert cgroup.oom_kills(str(tree.root)) is None
    tree.file("proc/vmstat", "nr_free_pages 1\noom_kill 3")
    assert cgroup.oom_kills(str(tree.root)) == 3
    tree.file("sys/fs/cgroup/memory.events", "low 0\noom 9\noom_kill 2\noom_group_kill 1")
    assert cgroup.oom_kills(str(tree.root)) == 5
    tree.file("sys/fs/cgroup/memory/memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 1")
    assert cgroup.oom_kills(str(tree.root)) == 6
    tree.file("proc/vmstat", "oom_kill nonsense")
    assert cgroup.oom_kills(str(tree.root)) == 3
