#!/usr/bin/env python3
"""packmill beside its peers: the same rows from the same shards to packed batches, in turn, each in a process of its own.

    benches/peers/setup                                        an environment for the peers, beside this file
    benches/peers/run --tokenizer DIR CORPUS...                all of them, a table, and a record under benches/record

CORPUS: JSON lines of `messages`, plain or zstd. The template is one of TRL's own, with generation tags (--template).

    packmill      the release binary, `bench`, on as many workers as there are cores
    trl-map       TRL's SFTTrainer: datasets' map with a process a core, bfd packing, assistant_only_loss; no training
    trl-stream    the same from a streamed data set
    loop          what people write by hand: apply_chat_template a row, first-fit packing, numpy batches
    tokenizers    Hugging Face tokenizers alone, on texts that were rendered before the clock started, with all its threads

Seconds count from opening the corpus to the last batch; imports, the tokenizer's own loading and a toy model are left out,
for packmill as for the others. Every peer gives, after the clock, a digest of its segments (ids and labels, in no order):
packmill, TRL and the loop must agree, or there is no table. `tokenizers` makes no labels: its tokens are compared.
"""

import argparse
import datetime
import hashlib
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
PEERS = ["packmill", "trl-map", "trl-stream", "loop", "tokenizers"]


def main():
    options = arguments()
    if options.peer:
        answer = globals()[options.peer.replace("-", "_")](options)
        print(json.dumps(answer))
    else:
        together(options)


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", nargs="+")
    parser.add_argument("--tokenizer", required=True, help="a folder with tokenizer.json")
    parser.add_argument("--template", default="qwen3_training", help="one of TRL's chat_templates")
    parser.add_argument("--length", type=int, default=4096)
    parser.add_argument("--rows", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--peers", nargs="+", default=PEERS, choices=PEERS)
    parser.add_argument("--binary", default=os.path.join(ROOT, "target/release/packmill"))
    parser.add_argument("--no-record", action="store_true", help="print the table only")
    parser.add_argument("--peer", choices=PEERS, help=argparse.SUPPRESS)
    return parser.parse_args()


# The peers, each in its own process.


def packmill(options):
    with tempfile.TemporaryDirectory() as scratch:
        recipe = os.path.join(scratch, "recipe.yaml")
        lines = {
            "version": 1,
            "tokenizer": os.path.abspath(options.tokenizer),
            "template": template_file(options),
            "sources": [{"name": "corpus", "paths": [os.path.abspath(path) for path in options.corpus]}],
            "pack": {"sequence_length": options.length},
            "batch": {"rows": options.rows},
            "epochs": 1,
        }
        with open(recipe, "w") as file:
            json.dump(lines, file)
        ran = run_json([options.binary, "bench", recipe, "--json"])
        digest = Segments()
        samples = subprocess.Popen([options.binary, "samples", recipe], stdout=subprocess.PIPE)
        for line in samples.stdout:
            sample = json.loads(line)
            if "input_ids" in sample:
                digest.add(sample["input_ids"], sample["labels"])
        if samples.wait() != 0:
            raise SystemExit("packmill samples failed")
    version = subprocess.run([options.binary, "--version"], capture_output=True, text=True, check=True)
    return answer(version.stdout.strip(), ran["tokens"], ran["elapsed_s"], digest, peak=ran.get("peak_rss_bytes", 0) >> 20)


def trl_map(options):
    return trl(options, stream=False)


def trl_stream(options):
    return trl(options, stream=True)


def trl(options, stream):
    scratch = tempfile.mkdtemp()
    os.environ.update(HF_HUB_OFFLINE="1", HF_DATASETS_DISABLE_PROGRESS_BARS="1", HF_DATASETS_CACHE=scratch)
    import datasets
    import trl
    from transformers import Qwen3Config, Qwen3ForCausalLM

    datasets.disable_caching()
    tokenizer = load_tokenizer(options)
    sizes = dict(hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=1)
    config = Qwen3Config(**sizes, num_key_value_heads=1, head_dim=16, vocab_size=len(tokenizer) + 512)
    model = Qwen3ForCausalLM(config)
    start = time.time()
    data = datasets.load_dataset("json", data_files=options.corpus, split="train", streaming=stream)
    more = dict(max_steps=10**6) if stream else dict(dataset_num_proc=os.cpu_count())
    config = trl.SFTConfig(
        output_dir=scratch,
        max_length=options.length,
        packing=True,
        packing_strategy="bfd",
        assistant_only_loss=True,
        per_device_train_batch_size=options.rows,
        report_to=[],
        bf16=False,
        use_cpu=True,
        **more,
    )
    trainer = trl.SFTTrainer(model=model, args=config, train_dataset=data, processing_class=tokenizer)
    batches, tokens = [], 0
    for batch in trainer.get_train_dataloader():
        tokens += batch["input_ids"].numel()
        batches.append(batch)
    seconds = time.time() - start
    digest = Segments()
    for batch in batches:
        ids, labels, positions = (batch[name].flatten().tolist() for name in ("input_ids", "labels", "position_ids"))
        starts = [at for at, position in enumerate(positions) if position == 0] + [len(ids)]
        for first, end in zip(starts, starts[1:]):
            digest.add(ids[first:end], labels[first:end])
    return answer(f"trl {trl.__version__}", tokens, seconds, digest)


def loop(options):
    import numpy
    import transformers

    tokenizer = load_tokenizer(options)
    start = time.time()
    rows, batches, open_rows = [], [], []

    def close(row):
        rows.append(row)
        if len(rows) == options.rows:
            batches.append(as_batch(rows))
            rows.clear()

    def as_batch(rows):
        shape = (len(rows), options.length)
        ids, labels = numpy.full(shape, tokenizer.pad_token_id, "int32"), numpy.full(shape, -100, "int32")
        positions = numpy.zeros(shape, "int32")
        for at, (_, segments) in enumerate(rows):
            end = 0
            for own_ids, own_labels in segments:
                place = slice(end, end + len(own_ids))
                ids[at, place], labels[at, place] = own_ids, own_labels
                positions[at, place] = numpy.arange(len(own_ids))
                end += len(own_ids)
        return ids, labels, positions

    tokens, segments = 0, []
    for row in read(options.corpus):
        made = tokenizer.apply_chat_template(
            row["messages"], tools=row.get("tools"), return_dict=True, return_assistant_tokens_mask=True
        )
        ids = made["input_ids"][: options.length]
        labels = [id if trained else -100 for id, trained in zip(ids, made["assistant_masks"])]
        tokens += len(ids)
        segments.append((ids, labels))
        for at, row in enumerate(open_rows):
            if row[0] + len(ids) <= options.length:
                row[0] += len(ids)
                row[1].append((ids, labels))
                break
        else:
            open_rows.append([len(ids), [(ids, labels)]])
            if len(open_rows) > 64:
                close(open_rows.pop(0))
    for row in open_rows:
        close(row)
    if rows:
        batches.append(as_batch(rows))
    seconds = time.time() - start
    digest = Segments()
    for ids, labels in segments:
        digest.add(ids, labels)
    return answer(f"transformers {transformers.__version__}, a loop", tokens, seconds, digest)


def tokenizers(options):
    import tokenizers

    full = load_tokenizer(options)
    texts = [
        full.apply_chat_template(row["messages"], tools=row.get("tools"), tokenize=False) for row in read(options.corpus)
    ]
    engine = tokenizers.Tokenizer.from_file(os.path.join(options.tokenizer, "tokenizer.json"))
    start = time.time()
    encodings = engine.encode_batch_fast(texts, add_special_tokens=False)
    seconds = time.time() - start
    tokens = sum(min(len(encoding), options.length) for encoding in encodings)
    return answer(f"tokenizers {tokenizers.__version__}", tokens, seconds, None)


# What they share.


class Segments:
    """A digest of segments that does not depend on their order."""

    def __init__(self):
        self.sum, self.count, self.trained = 0, 0, 0

    def add(self, ids, labels):
        # The first token of a segment has nothing before it that it could be learned from.
        labels = [-100] + list(labels[1:])
        own = hashlib.blake2b(json.dumps([list(ids), labels]).encode(), digest_size=16).digest()
        self.sum = (self.sum + int.from_bytes(own, "little")) % (1 << 128)
        self.count += 1
        self.trained += sum(label != -100 for label in labels)


def answer(name, tokens, seconds, digest, peak=None):
    peak = peak or resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
    made = dict(name=name, tokens=tokens, seconds=seconds, tokens_per_s=tokens / seconds, peak_rss_mib=peak)
    if digest is not None:
        made.update(segments=digest.count, trained=digest.trained, digest=f"{digest.sum:032x}")
    return made


def load_tokenizer(options):
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(options.tokenizer)
    with open(template_file(options)) as file:
        tokenizer.chat_template = file.read()
    return tokenizer


def template_file(options):
    if os.path.exists(options.template):
        return os.path.abspath(options.template)
    import importlib.util

    # Not imported: that takes seconds, and packmill's own process needs the path alone.
    package = os.path.dirname(importlib.util.find_spec("trl").origin)
    return os.path.join(package, "chat_templates", options.template + ".jinja")


def read(paths):
    for path in paths:
        with open(path, "rb") as file:
            if path.endswith(".zst"):
                import zstandard

                file = zstandard.ZstdDecompressor().stream_reader(file, read_across_frames=True)
            text = file.read().decode()
        yield from (json.loads(line) for line in text.split("\n") if line.strip())


def run_json(command):
    ran = subprocess.run(command, capture_output=True, text=True)
    if ran.returncode != 0:
        raise SystemExit(f"{' '.join(command)}\n{ran.stderr[-2000:]}")
    return json.loads(ran.stdout.strip().splitlines()[-1])


# All of them, in turn.


def together(options):
    own = [sys.executable, os.path.abspath(__file__)]
    made = {peer: [] for peer in options.peers}
    for number in range(options.rounds):
        for peer in options.peers:
            one = run_json(own + ["--peer", peer] + sys.argv[1:])
            made[peer].append(one)
            print(f"round {number + 1}: {one['name']}: {one['seconds']:.2f} s", file=sys.stderr)
    agree(made)
    seconds = {peer: statistics.median(one["seconds"] for one in runs) for peer, runs in made.items()}
    table = tabled(made, seconds)
    print(table)
    if not options.no_record:
        record(options, made, table)


def agree(made):
    """Refuses figures of peers that did not make the same."""
    digests = {peer: {one["digest"] for one in runs} for peer, runs in made.items() if "digest" in runs[0]}
    if len(set.union(*digests.values())) > 1:
        raise SystemExit(f"the outputs differ: {digests}")
    tokens = {peer: {one["tokens"] for one in runs} for peer, runs in made.items()}
    if len(set.union(*tokens.values())) > 1:
        raise SystemExit(f"the numbers of tokens differ: {tokens}")


def tabled(made, seconds):
    first = next(iter(made))
    lines = ["| | seconds (least to most) | tokens/s | × | peak MiB | segments, trained tokens |", "| --- | --- | --- | --- | --- | --- |"]
    for peer, runs in made.items():
        all_seconds = [one["seconds"] for one in runs]
        least, most = min(all_seconds), max(all_seconds)
        speed = runs[0]["tokens"] / seconds[peer]
        ratio = seconds[peer] / seconds[first]
        same = f"{runs[0]['segments']:,}, {runs[0]['trained']:,}" if "segments" in runs[0] else "ids alone"
        peak = max(one["peak_rss_mib"] for one in runs)
        lines.append(
            f"| {runs[0]['name']} ({peer}) | {seconds[peer]:.3f} ({least:.3f} to {most:.3f}) | {speed:,.0f} | {ratio:.1f} | {peak:,} | {same} |"
        )
    return "\n".join(lines)


def record(options, made, table):
    cpu = platform.processor() or platform.machine()
    with open("/proc/cpuinfo") as file:
        cpu = next((line.split(":", 1)[1].strip() for line in file if line.startswith("model name")), cpu)
    now = datetime.datetime.now(datetime.timezone.utc)
    names = [os.path.basename(path) for path in options.corpus]
    folder = os.path.join(ROOT, "benches", "record")
    os.makedirs(folder, exist_ok=True)
    path = os.path.join(folder, f"peers-{now:%Y-%m-%d-%H%M}.json")
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True).stdout.strip()
    written = dict(
        date=f"{now:%Y-%m-%d %H:%M} UTC",
        machine=f"{cpu}, {os.cpu_count()} cores, {platform.system()}",
        commit=commit,
        command=f"benches/peers/run --length {options.length} --rows {options.rows} --rounds {options.rounds} "
        f"--template {options.template} --tokenizer {os.path.basename(os.path.normpath(options.tokenizer))} " + " ".join(names),
        table=table.split("\n"),
        runs=made,
    )
    with open(path, "w") as file:
        json.dump(written, file, indent=1)
        file.write("\n")
    print(f"recorded in {os.path.relpath(path)}", file=sys.stderr)


if __name__ == "__main__":
    main()
