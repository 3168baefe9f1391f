"""The words of a job's life: states, reasons, and what each reason means. Pure, imported by both ends."""

from __future__ import annotations

from typing import Dict, FrozenSet, Mapping, NamedTuple, Optional

PENDING = "PENDING"
STARTING = "STARTING"
RUNNING = "RUNNING"
CANCELLING = "CANCELLING"
SUCCEEDED = "SUCCEEDED"
FAILED = "FAILED"
CANCELLED = "CANCELLED"
LOST = "LOST"

LIVE_STATES = frozenset({PENDING, STARTING, RUNNING, CANCELLING})
FINAL_STATES = frozenset({SUCCEEDED, FAILED, CANCELLED, LOST})

TRANSITIONS: Dict[str, FrozenSet[str]] = {
    PENDING: frozenset({STARTING, RUNNING, CANCELLED, FAILED, SUCCEEDED, LOST}),
    STARTING: frozenset({RUNNING, CANCELLING, SUCCEEDED, FAILED, CANCELLED, LOST, PENDING}),
    RUNNING: frozenset({CANCELLING, SUCCEEDED, FAILED, CANCELLED, LOST, PENDING}),
    CANCELLING: frozenset({SUCCEEDED, FAILED, CANCELLED, LOST}),
    SUCCEEDED: frozenset({PENDING}),
    FAILED: frozenset({PENDING}),
    CANCELLED: frozenset({PENDING, CANCELLING}),
    LOST: frozenset({PENDING}),
}
"""What an observer may see next. Final states go back to PENDING only by a request to retry. A job that is cancelled in
the very moment in which a keeper claims it is CANCELLED, CANCELLING, and CANCELLED again; nothing of it runs."""


class Reason(NamedTuple):
    """What an end reason means: the state it leads to, whether another try may help, and a sentence for people."""

    state: str
    retryable: bool
    en: str
    zh: str


END_REASONS: Dict[str, Reason] = {
    "exit_zero": Reason(SUCCEEDED, False, "finished with exit code 0", "已正常结束，退出码 0"),
    "exit_nonzero": Reason(FAILED, False, "the command ended with an error", "命令以错误退出"),
    "signal": Reason(FAILED, False, "the command was ended by a signal", "命令被信号终止"),
    "out_of_memory": Reason(FAILED, True, "memory ran out", "内存或显存不足"),
    "cuda_error": Reason(FAILED, True, "the GPU or its driver reported an error", "GPU 或驱动报错"),
    "timeout": Reason(FAILED, True, "it ran longer than its timeout", "超过了设定的最长时间"),
    "no_output": Reason(FAILED, True, "it printed nothing for too long", "太久没有输出"),
    "setup_failed": Reason(FAILED, False, "its setup failed", "环境准备（setup）失败"),
    "environment_missing": Reason(FAILED, False, "its Python environment is missing", "主机上没有所需的 Python 环境"),
    "spawn_failed": Reason(FAILED, True, "it could not be started", "无法启动"),
    "dependency_failed": Reason(FAILED, False, "a job it needs did not succeed", "所依赖的任务未成功"),
    "disk_full": Reason(FAILED, True, "the host's disk is full", "主机磁盘已满"),
    "log_too_large": Reason(FAILED, False, "its log passed the limit", "日志超过上限"),
    "cancelled_by_user": Reason(CANCELLED, False, "cancelled on request", "已按要求取消"),
    "moved": Reason(CANCELLED, False, "moved to another host", "已移到另一台主机"),
    "supervisor_died": Reason(LOST, True, "its supervisor was killed", "监督进程被杀死"),
    "host_replaced": Reason(LOST, True, "its host was replaced by another", "运行它的主机已被另一台替换"),
    "host_rebooted": Reason(LOST, True, "the host restarted while it ran", "运行期间主机重启"),
}

RETRY_ON: Dict[str, FrozenSet[str]] = {
    "host": frozenset({"host_rebooted", "host_replaced", "supervisor_died", "spawn_failed"}),
    "oom": frozenset({"out_of_memory"}),
    "cuda": frozenset({"cuda_error"}),
    "timeout": frozenset({"timeout", "no_output"}),
    "exit": frozenset({"exit_nonzero", "signal"}),
}
"""Words of a retry policy, and the end reasons each covers."""

WAITING_REASONS: Dict[str, Dict[str, str]] = {
    "queued": {"en": "waiting for the host's keeper to look at it", "zh": "等待主机上的 keeper 处理"},
    "no_gpu": {"en": "waiting for a free GPU", "zh": "等待空闲 GPU"},
    "no_cpu": {"en": "waiting for a free CPU slot", "zh": "等待空闲 CPU 名额"},
    "max_parallel": {"en": "waiting for other cells of its job to end", "zh": "等待同一任务的其他单元结束"},
    "failures_held": {"en": "held: too many cells of its job failed", "zh": "已暂停：同一任务失败的单元过多"},
    "needs": {"en": "waiting for the jobs it needs", "zh": "等待所依赖的任务"},
    "backoff": {"en": "waiting before the next try", "zh": "重试前等待"},
    "secret_needed": {
        "en": "waiting for a secret: set it on the laptop that submitted the job, any command there delivers it",
        "zh": "等待密钥：在提交它的电脑上设置好，任何 orch 命令都会送达",
    },
    "env_building": {"en": "its setup is running", "zh": "正在准备环境"},
    "host_paused": {"en": "the host is paused", "zh": "主机已暂停"},
    "host_stopping": {"en": "the host is being switched off", "zh": "主机正在关机"},
    "spool_moved": {"en": "this spool belongs to another host", "zh": "这份队列属于另一台主机"},
    "needs_newer_keeper": {"en": "waiting for a newer keeper", "zh": "等待更新的 keeper"},
}

HINTS: Dict[str, Dict[str, str]] = {
    "gpu_unused": {
        "en": "holds GPU {index} and does not use it: is torch.cuda.is_available() true? "
        "are model and batches .to(device)?",
        "zh": "占用了 GPU {index} 却没有使用：torch.cuda.is_available() 是否为 True？模型和数据是否都 .to(device)？",
    },
}
"""What is worth telling while a job runs, by key; the words in braces are filled in."""

SIGNAL_EXIT_BASE = 128


def state_of(reason: str) -> str:
    """Return the final state an end reason leads to; an unknown reason (a newer agent's) counts as FAILED."""
    known = END_REASONS.get(reason)
    return known.state if known else FAILED


def hint_sentence(key: str, words: Mapping[str, str], language: str = "en") -> str:
    """Return what people read for a hint; an unknown one (a newer agent's) is shown as its key."""
    text = HINTS.get(key, {}).get(language, key)
    for name, word in words.items():
        text = text.replace("{" + name + "}", str(word))
    return text


def sentence(reason: Optional[str], language: str = "en") -> str:
    """Return what people read for an end or waiting reason; an unknown one is shown as it is."""
    if not reason:
        return ""
    end = END_REASONS.get(reason)
    if end:
        return end.zh if language == "zh" else end.en
    return WAITING_REASONS.get(reason, {}).get(language, reason)
