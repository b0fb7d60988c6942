#!/usr/bin/env bash
# Trains each recipe of recipes/methods on three texts with one budget of tokens, and writes what came out into README.md.
#   adapters/methods-table.sh <data folder> <work folder> [steps]          Runs that an earlier call finished in <work folder> are kept.
# <data folder> holds lm-stories260k/stories260K.bin with tok512.bin, data-text/tinyshakespeare.txt, data-sft/snips/*.json, data-sft/gsm8k_train.jsonl and gsm8k_test.jsonl.
set -euo pipefail
if [ $# -lt 2 ]; then
    sed -n '2,4s/^# *//p' "$0" >&2
    exit 2
fi
data=$(cd "$1" && pwd)
mkdir -p "$2"
work=$(cd "$2" && pwd)
steps=${3:-128}
here=$(cd "$(dirname "$0")" && pwd)
methods="lora-r4 lora-r8 lora-r16 dora-r8 pissa-r8 bottleneck partial full"

dotnet publish -c Release -o "$work/edgelora" -v quiet "$here/../tools/EdgeLora.Cli"
edgelora() { dotnet "$work/edgelora/EdgeLora.Cli.dll" "$@"; }

# SNIPS writes an utterance as spans: their texts joined, still escaped as in the file, are one row. One of the files is Latin-1.
utterances() {
    local file
    for file in "$@"; do
        if iconv -f UTF-8 -t UTF-8 "$file" > "$work/utf8.json" 2> "$work/iconv.txt"; then cat "$work/utf8.json"; else iconv -f LATIN1 -t UTF-8 "$file"; fi
    done | LC_ALL=C grep -aoE '"(data|text)" *: *(\[|"([^"\\]|\\.)*")' | LC_ALL=C awk '
        /^"data"/ { if (text != "") print "{\"text\": \"" text "\"}"; text = ""; next }
        { sub(/^"text" *: *"/, ""); sub(/"$/, ""); text = text $0 }
        END { if (text != "") print "{\"text\": \"" text "\"}" }'
}

[ -d "$work/base" ] || edgelora convert "$data/lm-stories260k/stories260K.bin" "$work/base"
head -n 36000 "$data/data-text/tinyshakespeare.txt" > "$work/shakespeare.txt"
sed -n '36001,36500p' "$data/data-text/tinyshakespeare.txt" > "$work/shakespeare-held-out.txt"
utterances "$data"/data-sft/snips/train_*_full.json > "$work/snips.jsonl"
utterances "$data"/data-sft/snips/validate_*.json | awk 'NR % 3 == 0' > "$work/snips-held-out.jsonl"
head -n 24 "$data/data-sft/gsm8k_test.jsonl" > "$work/gsm8k-held-out.jsonl"

# A step's rows hold 1,024 tokens at most; GSM8K's questions with answers need longer ones.
rows() {
    case $1 in
        shakespeare) set -- --dataset "$work/shakespeare.txt" --cutoff-len 256 --per-device-train-batch-size 4 ;;
        snips) set -- --dataset "$work/snips.jsonl" --cutoff-len 256 --per-device-train-batch-size 4 ;;
        gsm8k) set -- --dataset "$data/data-sft/gsm8k_train.jsonl" --columns prompt=question,response=answer --template plain --cutoff-len 512 --per-device-train-batch-size 2 ;;
    esac
    printf '%s\0' "$@" --packing
}

# train <log> <method> <text> <flags>: once.
train() {
    local log=$1 method=$2 text=$3 flags
    shift 3
    grep -qs '"status":"finished"' "$log" && return
    echo "$method: $log" >&2
    mapfile -d '' flags < <(rows "$text")
    mkdir -p "$(dirname "$log")"
    edgelora train "$here/recipes/methods/$method.yaml" --base "$work/base" --output-dir "${log%.jsonl}" "${flags[@]}" "$@" --lr-scheduler-type cosine --warmup-ratio 0.05 --save-steps 0 --json > "$log"
}

for text in shakespeare snips gsm8k; do
    held_out=$(ls "$work/$text-held-out".*)
    for method in $methods; do train "$work/runs/$text/$method.jsonl" "$method" "$text" --eval-dataset "$held_out" --max-steps "$steps"; done
done
# Processor time, on one thread and without evaluation: the clock would count what else runs on the machine, and a second thread the waiting for it.
for method in $methods; do train "$work/runs/time/$method.jsonl" "$method" shakespeare --max-steps 64 --threads 1; done

grouped() { sed -E ':a; s/([0-9])([0-9]{3})($|,)/\1,\2\3/; ta'; }

# Every number of a field, in order.
numbers() { sed -n "s/.*\"$1\":\([-0-9.eE+]*\).*/\1/p" "$2"; }

# Of a whole run, from the median of the last 32 steps: in the first ones code is still compiled.
seconds() { numbers cpu_seconds "$1" | tail -n 32 | LC_ALL=C sort -g | awk -v steps="$steps" '{ s[NR] = $1 } END { printf "%.1f", s[int((NR + 1) / 2)] * steps }'; }

table() {
    local method text
    echo '| method | parameters that train | checkpoint, bytes | Shakespeare | SNIPS | GSM8K, answers | CPU seconds |'
    echo '|---|---:|---:|---:|---:|---:|---:|'
    printf '| base | 0 | 0 |'
    for text in shakespeare snips gsm8k; do printf ' %.3f |' "$(numbers eval_loss "$work/runs/$text/lora-r8.jsonl" | sed -n 1p)"; done
    echo ' – |'
    for method in $methods; do
        printf '| %s | %s | %s |' "$(sed -n '1s/^# *//p' "$here/recipes/methods/$method.yaml")" "$(numbers trainable_parameters "$work/runs/time/$method.jsonl" | grouped)" "$(wc -c < "$work/runs/time/$method/adapter_model.safetensors" | grouped)"
        for text in shakespeare snips gsm8k; do printf ' %.3f |' "$(numbers eval_loss "$work/runs/$text/$method.jsonl" | tail -n 1)"; done
        echo " $(seconds "$work/runs/time/$method.jsonl") |"
    done
}

table > "$work/table.md"
grep -q '<!-- methods-table -->' "$here/README.md"
awk -v table="$work/table.md" '
    /<!-- methods-table -->/ { print; while ((getline line < table) > 0) print line; skip = 1; next }
    /<!-- \/methods-table -->/ { skip = 0 }
    !skip' "$here/README.md" > "$work/README.md"
cp "$work/README.md" "$here/README.md"
cat "$work/table.md"
