"""Near-duplicates, measured: speed on one core beside datatrove and datasketch, recall per kind of copy, and what is removed wrongly.

    OMP_NUM_THREADS=1 python -m benchmarks.dedup [--data ../shared/data] [--repeat 3] [--peer-documents 20000]

Rates are CPU time of this process on one core, the median of the repetitions. Documents: GSM8K's training questions, recombinations of
their sentences, and seeded copies of both in ten kinds, shuffled together. Peers run where they are installed. A removed document is a bad
removal when none of the others has a token LCS of at least 0.7 of the longer text with it. No text of the data is printed.
"""

import argparse
import importlib.util
import json
import os
import random
import re
import resource
import statistics
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from rapidfuzz.distance import LCSseq

from storage.schemas import Problem, arrow_schema
from tasks.dedup import DedupConfig, dedup, find_clusters
from tasks.maths.normalise import words
from tasks.maths.planting import KINDS as DISGUISES

DOCUMENTS, PER_KIND = 100_000, 1_600
FLOOR = 0.7
_WORD = re.compile(r"\S+\s*")


def _swapped(text: str, rng: random.Random) -> str:
    """Two neighbouring sentences change places."""
    sentences = re.split(r"(?<=[.?!]) ", text)
    if len(sentences) < 3:
        return text
    at = rng.randrange(len(sentences) - 1)
    sentences[at], sentences[at + 1] = sentences[at + 1], sentences[at]
    return " ".join(sentences)


def _prefixed(text: str, rng: random.Random) -> str:
    return rng.choice(["Solve the following problem. ", "Please think step by step: ", "Question: ", "Exercise 7 (easy). "]) + text


def _respaced(text: str, rng: random.Random) -> str:
    return text.replace(". ", ".\n").replace("$", r"\$").replace(" ", "  ")


def _dropped(text: str, rng: random.Random, share: float) -> str:
    return "".join(word for word in _WORD.findall(text) if rng.random() >= share)


def _appended(text: str, rng: random.Random) -> str:
    return text + rng.choice([" Explain your answer.", " Give the answer as a number.", " Show all of your work."])


KINDS: dict[str, Callable[[str, random.Random], str]] = {
    "exact": DISGUISES["verbatim"],
    "case and spaces": lambda text, rng: _respaced(text, rng).upper(),
    "numbers changed": DISGUISES["all numbers changed"],
    "reworded": DISGUISES["reworded"],
    "renamed": DISGUISES["renamed"],
    "words inserted": DISGUISES["words inserted"],
    "a tenth dropped": partial(_dropped, share=0.1),
    "sentences swapped": _swapped,
    "framed": lambda text, rng: _appended(_prefixed(text, rng), rng),
    "a quarter dropped": partial(_dropped, share=0.25),
}
"""The last one is below the floor of similarity by design and reported apart."""


@dataclass
class Corpus:
    """Documents in random order; `kind` is empty for an original, and `of` is then its own place."""

    texts: list[str]
    kinds: list[str]
    of: list[int]


def corpus(data: Path, documents: int, per_kind: int, seed: int) -> Corpus:
    rng = random.Random(seed)
    lines = (data / "problems/gsm8k_train.jsonl").read_text(encoding="utf-8").splitlines()
    train = [json.loads(line)["question"] for line in lines]
    sentences = [s for question in train for s in re.split(r"(?<=[.?!]) ", question)]
    mixed = documents - len(train) - per_kind * len(KINDS)
    originals = train + [" ".join(rng.sample(sentences, rng.randint(3, 5))) for _ in range(mixed)]
    made = [(text, "", number) for number, text in enumerate(originals)]
    drawn = iter(rng.sample(range(len(originals)), len(originals)))
    for kind, change in KINDS.items():
        copies: list[tuple[str, str, int]] = []
        while len(copies) < per_kind:
            number = next(drawn)
            copy = change(originals[number], rng)
            if kind == "exact" or copy != originals[number]:
                copies.append((copy, kind, number))
        made += copies
    order = rng.sample(range(len(made)), len(made))
    place = {number: at for at, number in enumerate(order)}
    return Corpus([made[n][0] for n in order], [made[n][1] for n in order], [place[made[n][2]] for n in order])


# the peers


def datatrove_keep(texts: Sequence[str], size: int) -> list[bool] | None:
    """Which documents datatrove's minhash pipeline keeps (14 bands of 8, its own defaults), None where it is not installed."""
    if importlib.util.find_spec("datatrove") is None:
        return None
    from datatrove.data import Document
    from datatrove.pipeline.dedup import MinhashDedupBuckets, MinhashDedupCluster, MinhashDedupSignature
    from datatrove.pipeline.dedup.minhash import MinhashConfig, MinhashDedupFilter

    config = MinhashConfig(n_grams=size, num_buckets=14, hashes_per_bucket=8)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        documents = [Document(text=text, id=str(i)) for i, text in enumerate(texts)]
        MinhashDedupSignature(str(folder / "sig"), config=config).run(documents, 0, 1)
        for bucket in range(config.num_buckets):
            MinhashDedupBuckets(str(folder / "sig"), str(folder / "buckets"), config=config).run(None, bucket, config.num_buckets)
        MinhashDedupCluster(str(folder / "buckets"), str(folder / "remove"), config=config).run(None, 0, 1)
        kept = MinhashDedupFilter(str(folder / "remove")).run(iter(documents), 0, 1)
        ids = {int(document.id) for document in kept}
    return [i in ids for i in range(len(texts))]


def datasketch_keep(texts: Sequence[str], size: int) -> list[bool] | None:
    """Which documents its MinHashLSH keeps (128 permutations, threshold 0.7): those that meet no earlier kept one."""
    if importlib.util.find_spec("datasketch") is None:
        return None
    from datasketch import MinHash, MinHashLSH

    known, keep = MinHashLSH(threshold=0.7, num_perm=128), []
    for number, text in enumerate(texts):
        tokens = re.findall(r"\w+", text.lower())
        made = MinHash(num_perm=128)
        made.update_batch([" ".join(tokens[i : i + size]).encode() for i in range(max(1, len(tokens) - size + 1))])
        keep.append(not known.query(made))
        if keep[-1]:
            known.insert(str(number), made)
    return keep


# measuring


def rate(name: str, documents: int, run: Callable[[], Any], repeat: int) -> tuple[float, Any]:
    """(documents per CPU second, the last result)."""
    taken, result = [], None
    for _ in range(repeat):
        start = time.process_time()
        result = run()
        taken.append(time.process_time() - start)
    if result is None:
        print(f"{name:44s} not installed")
        return 0.0, None
    middle = documents / statistics.median(taken)
    print(f"{name:44s} {middle:>10,.0f} docs/s [{documents / max(taken):,.0f}-{documents / min(taken):,.0f}]", flush=True)
    return middle, result


def write_problems(path: Path, texts: Sequence[str]) -> None:
    count = len(texts)
    ids = pa.array([f"{i:016x}" for i in range(count)])
    columns = [ids, ["bench"] * count, pa.nulls(count, pa.string()), list(texts), pa.nulls(count, pa.string()), ["none"] * count]
    empty = pa.array([[]] * count, pa.list_(pa.field("item", pa.string(), nullable=False)))
    table = pa.table([*columns, pa.array([True] * count), empty], schema=arrow_schema(Problem))
    pq.write_table(table, path, compression="zstd", compression_level=3, row_group_size=20_000)


def parquet_to_parquet(source: Path, target: Path, config: DedupConfig) -> bool:
    (made,) = dedup(pq.read_table(source), config)
    pq.write_table(made.rows, target, compression="zstd", compression_level=3)
    return True


def recall(data: Corpus, keep: Sequence[bool]) -> dict[str, float]:
    """% of the pairs (original, copy) of each kind of which not both are kept."""
    found: Counter[str] = Counter()
    for at, (kind, of) in enumerate(zip(data.kinds, data.of, strict=True)):
        found[kind] += not (keep[at] and keep[of])
    return {kind: 100 * found[kind] / data.kinds.count(kind) for kind in KINDS}


def bad_in_clusters(texts: Sequence[str], of: Sequence[int]) -> tuple[int, int]:
    """(removed documents without a partner at the floor in their cluster, removed documents): all are looked at."""
    members = defaultdict(list)
    for number, first in enumerate(of):
        members[first].append(number)
    tokens = {number: words(texts[number]) for group in members.values() if len(group) > 1 for number in group}
    removed = [number for number, first in enumerate(of) if first != number]
    bad = 0
    for number in removed:
        others = (tokens[other] for other in members[of[number]] if other != number)
        bad += not any(LCSseq.normalized_similarity(tokens[number], other) >= FLOOR for other in others)
    return bad, len(removed)


def bad_removals(texts: Sequence[str], keep: Sequence[bool]) -> tuple[int, int]:
    """The same for a peer that names no clusters: a partner is looked for among the documents that share the rarer tokens."""
    tokens = [words(text) for text in texts]
    holders = defaultdict(list)
    for number, found in enumerate(tokens):
        for word in set(found):
            holders[word].append(number)
    removed = [number for number, kept in enumerate(keep) if not kept]
    return sum(not _has_partner(number, tokens, holders) for number in removed), len(removed)


def _has_partner(number: int, tokens: Sequence[list[str]], holders: dict[str, list[int]]) -> bool:
    own = tokens[number]
    shared: Counter[int] = Counter()
    for word in sorted(set(own), key=lambda w: len(holders[w]))[: max(8, len(own) // 3)]:
        shared.update(holders[word][:3000])
    likely = [other for other, _ in shared.most_common(100) if other != number]
    return any(LCSseq.normalized_similarity(own, tokens[other]) >= FLOOR for other in likely)


def show_recall(columns: dict[str, dict[str, float]]) -> None:
    print(f"\n{'recall, % of copies found':26s}" + "".join(f"{name:>18s}" for name in columns))
    for kind in KINDS:
        print(f"{kind:26s}" + "".join(f"{found[kind]:>18.1f}" for found in columns.values()))
    nine = {name: statistics.mean(list(found.values())[:-1]) for name, found in columns.items()}
    print(f"{'the first nine':26s}" + "".join(f"{value:>18.1f}" for value in nine.values()))


def ours(data: Corpus, repeat: int) -> dict[str, tuple[float, list[int]]]:
    """(documents per second, the representative of each) by policy on numbers; the stage's rates are printed."""
    texts, results = pa.array(data.texts), {}
    for numbers in ("same", "distinct"):
        config = DedupConfig(numbers=numbers)
        speed, found = rate(f"clusters, numbers {numbers}", len(texts), partial(find_clusters, texts, config), repeat)
        results[numbers] = speed, found.of.tolist()
        with tempfile.TemporaryDirectory() as name:
            write_problems(Path(name) / "in.parquet", data.texts)
            run = partial(parquet_to_parquet, Path(name) / "in.parquet", Path(name) / "out.parquet", config)
            rate(f"stage, Parquet to Parquet, numbers {numbers}", len(texts), run, repeat)
    return results


def quality(data: Corpus, clusters: dict[str, list[int]], peers: dict[str, list[bool]]) -> None:
    keeps = {name: [first == at for at, first in enumerate(of)] for name, of in clusters.items()} | peers
    show_recall({name: recall(data, keep) for name, keep in keeps.items()})
    for name, keep in keeps.items():
        bad, removed = bad_in_clusters(data.texts, clusters[name]) if name in clusters else bad_removals(data.texts, keep)
        print(f"{name:20s} removed {removed:>7,}, of which {bad} have no partner with LCS >= {FLOOR}", flush=True)


def beside_peers(data: Corpus, repeat: int) -> None:
    """The same on fewer documents, with the peers."""
    mine = ours(data, repeat)
    kept: dict[str, list[bool]] = {}
    peers = {"datatrove 5-gram": partial(datatrove_keep, data.texts, 5), "datasketch 3-gram": partial(datasketch_keep, data.texts, 3)}
    for name, peer in peers.items():
        speed, keep = rate(name, len(data.texts), peer, 1)
        if keep is not None:
            kept[name] = keep
            print("    " + ", ".join(f"numbers {numbers}: {own / speed:.1f}x" for numbers, (own, _) in mine.items()))
    quality(data, {name: of for name, (_, of) in mine.items()}, kept)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("MATHMILL_TEST_DATA", "../shared/data")))
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--peer-documents", type=int, default=10_000, help="documents beside the peers; at least 9,000")
    given = parser.parse_args()
    pa.set_cpu_count(1)
    data = corpus(given.data, DOCUMENTS, PER_KIND, given.seed)
    print(f"{len(data.texts):,} documents, {PER_KIND:,} copies of each of {len(KINDS)} kinds\n")
    quality(data, {name: of for name, (_, of) in ours(data, given.repeat).items()}, {})
    print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB, the documents as Python strings included")
    few = given.peer_documents * PER_KIND // DOCUMENTS
    data = corpus(given.data, given.peer_documents, few, given.seed)
    print(f"\n{len(data.texts):,} documents, {few:,} copies of each kind\n")
    beside_peers(data, given.repeat)


if __name__ == "__main__":
    main()
