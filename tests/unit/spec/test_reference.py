"""docs/jobs-yaml.md is what the models say, and says something of every key."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from orchestrator.spec.models import FileModel, JobKeys
from orchestrator.spec.reference import render

ROOT = Path(__file__).resolve().parents[3]
PAGE = ROOT / "docs" / "jobs-yaml.md"


def test_the_page_is_up_to_date() -> None:
    assert PAGE.read_text(encoding="utf-8") == render(), (
        "python -m orchestrator.spec.reference docs/jobs-yaml.md writes it anew"
    )


def test_its_first_comment_says_how_to_write_it_anew_and_that_works(tmp_path: Path) -> None:
    command = re.search(r"<!--[^>]*`python (-m [\w.]+) docs/jobs-yaml.md`", PAGE.read_text(encoding="utf-8"))
    assert command
    made = tmp_path / "page.md"
    subprocess.run([sys.executable, *command[1].split(), str(made)], check=True, cwd=ROOT)
    assert made.read_bytes() == PAGE.read_bytes()


def test_every_key_has_a_section_with_a_meaning_a_default_and_an_example() -> None:
    sections = re.split(r"^### ", render(), flags=re.MULTILINE)[1:]
    keys = [section.split("\n", 1)[0].strip("`") for section in sections]
    assert keys == [*FileModel.model_fields, *JobKeys.model_fields]
    for key, section in zip(keys, sections, strict=True):
        meaning = section.split("\n\n")[1]
        assert meaning.endswith("Needed.") or re.search(r" Default: [^.]*(\.[^.]+)*\.$", meaning), key
        assert re.search(rf"^```yaml\n(?:.*\n)*?\s*{key}:", section, re.MULTILINE), key


def test_the_contents_lead_to_the_sections() -> None:
    text = render()
    seen: dict[str, int] = {}
    anchors = []
    for heading in re.findall(r"^#+ (.+)$", text, re.MULTILINE):
        anchor = re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
        anchors.append(f"{anchor}-{seen[anchor]}" if anchor in seen else anchor)
        seen[anchor] = seen.get(anchor, 0) + 1
    links = re.findall(r"\]\(#([^)]+)\)", text)
    assert len(links) == len(FileModel.model_fields) + len(JobKeys.model_fields)
    assert set(links) <= set(anchors)


def test_it_does_not_speak_of_what_does_not_work() -> None:
    for word in ("wandb:", "budget", "guard:", "proxy", "when_done"):
        assert word not in render()
