"""Contamination check, measured: speed of index and stage beside open-r1's script, recall per kind of copy, and what is flagged wrongly.

    OMP_NUM_THREADS=1 python -m benchmarks.contamination [--data ../shared/data] [--repeat 3] [--show-twins]

Rates are CPU time of this process on one core, the median of the repetitions; all methods run in this one process, so that ratios hold.
Protected: the 17 benchmark files. Checked: GSM8K's training questions, recombinations of their sentences, and disguised copies of
protected texts (`tasks.maths.planting`), as short documents and with solutions appended as long ones. The planter was written
together with the rule; only the numbers on real files (GSM8K, paraphrases) are out of sample. The paraphrase detector was chosen on the
half of the paraphrases whose SHA-256 is even. datatrove is run where it is installed (it needs xxhash < 4, spaCy).
No text of the data is printed.
"""

import argparse
import hashlib
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

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from storage.schemas import Problem, arrow_schema
from tasks.contamination import ContaminationConfig, contamination
from tasks.maths.contamination_index import RULES as FIRED
from tasks.maths.contamination_index import Index
from tasks.maths.normalise import words
from tasks.maths.planting import KINDS, near_misses, plant
from tasks.maths.protected import read_protected

RECOMBINED, PER_KIND, LONG_BYTES, LONG = 88_627, 300, 2000, 30_000
PRESETS = ("published", "default")
SETTINGS: dict[str, dict[str, Any]] = {
    "published": {"preset": "published"},
    "default": {"preset": "default"},
    "default, no paraphrases": {"preset": "default", "paraphrase": 1.0},
}


@dataclass
class Corpus:
    """What is checked: planted copies first, then GSM8K's training questions, then recombinations."""

    kinds: list[str]
    short: pa.Array
    long: pa.Array
    train: int

    @property
    def planted(self) -> int:
        return len(self.kinds)


def questions(path: Path, field: str = "question") -> list[str]:
    return [json.loads(line)[field] for line in path.read_text(encoding="utf-8").splitlines()]


def corpus(data: Path, protected: pa.Table, seed: int) -> Corpus:
    rng = random.Random(seed)
    planted = plant(protected["text"].to_pylist(), PER_KIND, seed)
    train = questions(data / "problems/gsm8k_train.jsonl")
    solutions = questions(data / "problems/gsm8k_train.jsonl", "answer")
    sentences = [s for question in train for s in re.split(r"(?<=[.?!]) ", question)]
    mixed = [" ".join(rng.sample(sentences, rng.randint(3, 5))) for _ in range(RECOMBINED)]
    short = [copy for _, copy in planted] + train + mixed
    return Corpus([kind for kind, _ in planted], pa.array(short), pa.array([lengthen(t, solutions, rng) for t in short]), len(train))


def lengthen(text: str, solutions: Sequence[str], rng: random.Random) -> str:
    parts, size = [text], len(text)
    while size < LONG_BYTES:
        parts.append(rng.choice(solutions))
        size += len(parts[-1])
    return "\n".join(parts)


# the peers, plainly


class OpenR1:
    """Any shared 8-gram of words split at spaces (huggingface/open-r1, scripts/decontaminate.py)."""

    def __init__(self, texts: Sequence[str], size: int = 8) -> None:
        self.size = size
        self.lookup: dict[str, set[int]] = defaultdict(set)
        for number, text in enumerate(texts):
            for gram in self._grams(text):
                self.lookup[gram].add(number)

    def _grams(self, text: str) -> list[str]:
        split = " ".join(text.lower().strip().split()).split()
        return [" ".join(split[i : i + self.size]) for i in range(len(split) - self.size + 1)]

    def check(self, texts: Sequence[str]) -> list[bool]:
        return [any(gram in self.lookup for gram in self._grams(text)) for text in texts]


class PlainPython:
    """The n-gram half of the published rule with a set of tuples, as most scripts have it."""

    def __init__(self, texts: Sequence[str], size: int = 13) -> None:
        self.size = size
        self.known = {gram for text in texts for gram in self._grams(text)}

    def _grams(self, text: str) -> list[tuple[str, ...]]:
        tokens = words(text)
        return [tuple(tokens[i : i + self.size]) for i in range(len(tokens) - self.size + 1)]

    def check(self, texts: Sequence[str]) -> list[bool]:
        return [any(gram in self.known for gram in self._grams(text)) for text in texts]


def datatrove_rate(texts: Sequence[str], protected: Sequence[str], folder: Path) -> float | None:
    """Documents per second of datatrove's n-gram filter on these texts, None where it is not installed.

    Its index is written here, by its own tokenizer, normalisation and hash: its indexer only runs with another package installed.
    """
    if importlib.util.find_spec("datatrove") is None:
        return None
    from datatrove.data import Document
    from datatrove.pipeline.decont import NGramsDecontConfig, NGramsDecontFilter
    from datatrove.utils.text import ngrams, simplify_text

    config = NGramsDecontConfig(n_grams=12, find_query_ngrams=False, find_overlap_ngrams=False)
    check = NGramsDecontFilter(str(folder), config=config)
    tokens = (check.tokenizer.word_tokenize(simplify_text(text, config.norm_config)) for text in protected)
    hashes = {check.hash_func(" ".join(gram)) for text in tokens for gram in ngrams(text, config.n_grams)}
    folder.mkdir(exist_ok=True)
    np.array(list(hashes), dtype=config.hash_config.np_descr).tofile(folder / "b.index.hashes")
    check.load_index_hashes()
    documents = [Document(text=t, id=str(i)) for i, t in enumerate(texts)]
    return len(texts) / seconds(lambda: [check.filter(d) for d in documents], 1)[0]


# measuring


def seconds(run: Callable[[], Any], repeat: int) -> tuple[float, float, float]:
    """(median, least, most) CPU seconds."""
    taken = []
    for _ in range(repeat):
        start = time.process_time()
        run()
        taken.append(time.process_time() - start)
    return statistics.median(taken), min(taken), max(taken)


def rate(name: str, documents: int, size: int, run: Callable[[], Any], repeat: int) -> float:
    middle, least, most = seconds(run, repeat)
    spread = f"[{documents / most:,.0f}-{documents / least:,.0f}]"
    print(f"{name:44s} {documents / middle:>10,.0f} docs/s {spread:>20s} {size / middle / 1e6:>6.1f} MB/s", flush=True)
    return documents / middle


@dataclass(frozen=True)
class Against:
    """The protected texts as the dataset that the stage is given."""

    rows: pa.Table
    digest: str = "benchmark"
    name: str = "benchmark.protect"
    spec: str = "benchmark.protect@1"
    files: tuple[Path, ...] = ()
    meta: tuple[()] = ()

    def table(self, columns: Sequence[str] | None = None) -> pa.Table:
        return self.rows


def parquet_to_parquet(source: Path, target: Path, against: Against, config: ContaminationConfig) -> None:
    (made,) = contamination(pq.read_table(source), None, against, config)
    pq.write_table(made.rows, target, compression="zstd", compression_level=3)


def write_problems(path: Path, texts: pa.Array) -> None:
    count = len(texts)
    ids = pa.array([f"{i:016x}" for i in range(count)])
    columns = [ids, ["bench"] * count, pa.nulls(count, pa.string()), texts, pa.nulls(count, pa.string()), ["none"] * count]
    empty = pa.array([[]] * count, pa.list_(pa.field("item", pa.string(), nullable=False)))
    table = pa.table([*columns, pa.array([True] * count), empty], schema=arrow_schema(Problem))
    pq.write_table(table, path, compression="zstd", compression_level=3, row_group_size=20_000)


def speed(data: Corpus, protected: pa.Table, folder: Path, repeat: int) -> None:
    open_r1, plain = OpenR1(protected["text"].to_pylist()), PlainPython(protected["text"].to_pylist())
    some_long = data.long.take(pa.array(random.Random(0).sample(range(len(data.long)), LONG)))
    for name, column in (("short", data.short), ("long", some_long)):
        print(f"\n{name}: {len(column):,} documents of {column.nbytes / len(column):.0f} bytes")
        write_problems(folder / "in.parquet", column)
        ours = {name: ours_on(column, protected, name, folder, repeat) for name in SETTINGS}
        some = random.Random(0).sample(column.to_pylist(), 20_000 if name == "short" else 4_000)
        peer = rate("open-r1, 8-grams", len(some), size_of(some), partial(open_r1.check, some), repeat)
        rate("plain Python, 13-grams", 2000, size_of(some[:2000]), partial(plain.check, some[:2000]), 1)
        trove = datatrove_rate(some[:1000], protected["text"].to_pylist(), folder / name)
        if trove:
            print(f"{'datatrove, 12-grams':44s} {trove:>10,.0f} docs/s")
        for where in (0, 1):
            beside = f", {ours['published'][where] / trove:.1f}x datatrove" if trove else "; datatrove is not installed"
            print(f"published rule, {('index', 'stage')[where]}: {ours['published'][where] / peer:.1f}x open-r1{beside}")


def ours_on(column: pa.Array, protected: pa.Table, name: str, folder: Path, repeat: int) -> tuple[float, float]:
    """Documents per second of the index alone and of the stage."""
    config, against = ContaminationConfig(**SETTINGS[name]), Against(protected)
    index = Index(protected, config.rule)
    alone = rate(f"index, {name}", len(column), column.nbytes, partial(index.check, column), repeat)
    run = partial(parquet_to_parquet, folder / "in.parquet", folder / "out.parquet", against, config)
    run()  # the stage builds its index once in a process
    return alone, rate(f"stage, Parquet to Parquet, {name}", len(column), column.nbytes, run, repeat)


def building(protected: pa.Table, folder: Path, repeat: int) -> None:
    """What saving an index can spare: making it from its texts, and from a file of them."""
    for name, given in SETTINGS.items():
        rule = ContaminationConfig(**given).rule
        Index(protected, rule).save(folder / "index.arrow")
        made, loaded = (seconds(run, repeat)[0] for run in (partial(Index, protected, rule), partial(Index.load, folder / "index.arrow")))
        print(f"index, {name}: built in {made:.2f} s, loaded in {loaded:.2f} s")


def size_of(texts: Sequence[str]) -> int:
    return sum(len(text.encode()) for text in texts)


def quality(data: Corpus, protected: pa.Table, show: bool) -> None:
    texts = protected["text"].to_pylist()
    flags: dict[str, list[bool]] = {"open-r1": OpenR1(texts).check(data.short.to_pylist())}
    for preset in PRESETS:
        index = Index(protected, ContaminationConfig(preset=preset).rule)
        best = index.check(data.short).best()
        hit = set(best.rows.tolist())
        flags[preset] = [row in hit for row in range(len(data.short))]
        if show and preset == "default":
            twins(best, index, data)
    tried = Counter(data.kinds)
    print(f"\n{'recall, % of copies found':28s}" + "".join(f"{name:>12s}" for name in flags))
    for kind in KINDS:
        found = {name: sum(f for f, k in zip(flag, data.kinds, strict=False) if k == kind) for name, flag in flags.items()}
        print(f"{kind:28s}" + "".join(f"{100 * n / tried[kind]:>12.1f}" for n in found.values()) + f"   of {tried[kind]}")
    start, stop = data.planted, data.planted + data.train
    for what, part in (("all copies", slice(0, start)), ("GSM8K train", slice(start, stop)), ("recombined", slice(stop, None))):
        counts = [sum(flag[part]) for flag in flags.values()]
        shown = [f"{100 * n / start:.1f}" if part.start == 0 else f"{n}" for n in counts]
        print(f"{what:28s}" + "".join(f"{n:>12s}" for n in shown) + f"   of {len(flags['default'][part]):,}")


def twins(best: Any, index: Index, data: Corpus) -> None:
    """Line of GSM8K's training file, protected item, ratio: what the default flags there, to be read by a person."""
    for row, text, rule, ratio in zip(*(c.tolist() for c in best.columns()[:4]), strict=True):
        if data.planted <= row < data.planted + data.train:
            item = index.protected.slice(text, 1).to_pylist()[0]
            print(f"gsm8k_train.jsonl:{row - data.planted + 1} {item['benchmark']}:{item['item']} {ratio:.2f} {FIRED[rule]}")


def real(data: Path, protected: pa.Table, seed: int) -> None:
    print()
    paraphrases = questions(data / "contamination/rephrase_gsm8k_first660.jsonl", "text")
    retold = [re.sub(r"^Question: |\nAnswer:.*", "", t, flags=re.DOTALL) for t in paraphrases]
    side = [int(hashlib.sha256(text.encode()).hexdigest(), 16) % 2 for text in retold]
    sets = {
        "GSM8K test questions": questions(data / "benchmarks/gsm8k.jsonl"),
        "paraphrases, half seen": [text for text, half in zip(retold, side, strict=True) if not half],
        "paraphrases, half unseen": [text for text, half in zip(retold, side, strict=True) if half],
        "GSM8K train solutions": questions(data / "problems/gsm8k_train.jsonl", "answer"),
        "near misses": near_misses(protected["text"].to_pylist(), 1000, seed),
    }
    for rule, given in SETTINGS.items():
        index = Index(protected, ContaminationConfig(**given).rule)
        for name, texts in sets.items():
            print(f"{rule:24s} {name:28s} flagged {len(index.check(pa.array(texts)).best().rows):>5d} of {len(texts)}")


def memory(data: Corpus, protected: pa.Table) -> None:
    """Peak memory of the process after one and after four times the long documents, the column itself not counted."""
    index = Index(protected, ContaminationConfig().rule)
    peaks = []
    column = data.long.slice(0, LONG)
    for times in (1, 4):
        index.check(pa.chunked_array([column] * times))
        peaks.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
    print(f"\npeak memory after {LONG:,} long documents {peaks[0]:.0f} MB, after {4 * LONG:,} {peaks[1]:.0f} MB")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("MATHMILL_TEST_DATA", "../shared/data")))
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--show-twins", action="store_true", help="list what the default flags in GSM8K's training set")
    given = parser.parse_args()
    pa.set_cpu_count(1)
    protected = read_protected(given.data / "benchmarks")
    print(f"protected: {protected.num_rows:,} texts, {len(set(protected['text'].to_pylist())):,} different")
    data = corpus(given.data, protected, given.seed)
    quality(data, protected, given.show_twins)
    real(given.data, protected, given.seed)
    with tempfile.TemporaryDirectory() as folder:
        building(protected, Path(folder), given.repeat)
        speed(data, protected, Path(folder), given.repeat)
    memory(data, protected)


if __name__ == "__main__":
    main()
