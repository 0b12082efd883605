"""The documents of the labelled set, taken once from PubMedQA and from our own pages, and kept beside this file.

Usage: prepare.py FOLDER, with FOLDER/pubmedqa of the retrieval collections. Kept as a copy, so that the labelled set
and what is calibrated on it do not change when a page does.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
ABSTRACTS = 200
PAGES = ("beyond_one_machine", "operations", "security", "serving", "decisions/0008-streams", "decisions/0009-serving")


def rows(path: Path) -> list[dict[str, str]]:
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def main() -> None:
    folder = Path(sys.argv[1]) / "pubmedqa"
    questions = {row["_id"].removeprefix("q"): row["text"] for row in rows(folder / "queries.jsonl.gz")}
    abstracts = sorted(rows(folder / "corpus.jsonl.gz"), key=lambda r: hashlib.sha256(r["_id"].encode()).digest())
    kept = [
        {"id": f"pubmed:{r['_id']}", "text": r["text"], "question": questions[r["_id"]]} for r in abstracts[:ABSTRACTS]
    ]
    for page in PAGES:
        sections = (ROOT / "docs" / f"{page}.md").read_text().split("\n## ")
        kept += [{"id": f"{page}#{i}", "text": text, "question": ""} for i, text in enumerate(sections)]
    body = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in kept)
    with open(HERE / "data" / "documents.jsonl.gz", "wb") as out:
        out.write(gzip.compress(body.encode(), mtime=0))


if __name__ == "__main__":
    main()
