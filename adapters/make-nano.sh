#!/bin/sh
# Makes a nano base and its tree of adapters from nothing with edgelora alone: data -> tokenizer and random weights -> full training -> merge -> adapters, children on their parents.
set -eu

usage() {
    cat >&2 <<'END'
usage: make-nano.sh <data> <out> [steps]

  <out>    new folder; <out>/nano is the tree. Metrics and loss curves go to <out>/runs.
  steps    take only so many steps in every run: to try the script out.
  EDGELORA the program to run; default: dotnet run on this checkout.

<data> holds, as they come from their sources:
  tinystories_sample_2MiB.txt                   head of TinyStoriesV2-GPT4-train.txt    huggingface.co/datasets/roneneldan/TinyStories (CDLA-Sharing-1.0)
  alice_pg11.txt, sherlock_pg1661.txt           Project Gutenberg, books 11 and 1661    gutenberg.org (public domain in the US)
  tinyshakespeare.txt                           github.com/karpathy/char-rnn, data/tinyshakespeare/input.txt (public domain)
  rasbt_instruction-data.json                   github.com/rasbt/LLMs-from-scratch, ch07/01_main-chapter-code/instruction-data.json (Apache-2.0)
  rasbt_instruction-data-with-preference.json   github.com/rasbt/LLMs-from-scratch, ch07/04_preference-tuning-with-dpo (Apache-2.0)
  e2e_nlg_valid.txt, e2e_nlg_test.txt           github.com/microsoft/LoRA, examples/NLG/data/e2e/valid.txt and test.txt (CC BY-SA 4.0)
  gsm8k_train.jsonl, gsm8k_test.jsonl           github.com/openai/grade-school-math, grade_school_math/data (MIT)
END
    exit 2
}

[ $# -eq 2 ] || [ $# -eq 3 ] || usage
data=$1 out=$2 here=$(cd "$(dirname "$0")" && pwd)
[ $# -lt 3 ] || limit="--max-steps $3"
edgelora() {
    if [ -n "${EDGELORA:-}" ]; then "$EDGELORA" "$@"; else dotnet run -c Release --project "$here/../tools/EdgeLora.Cli" -- "$@"; fi
}

missing=0
for file in tinystories_sample_2MiB.txt alice_pg11.txt sherlock_pg1661.txt tinyshakespeare.txt rasbt_instruction-data.json rasbt_instruction-data-with-preference.json \
    e2e_nlg_valid.txt e2e_nlg_test.txt gsm8k_train.jsonl gsm8k_test.jsonl; do
    [ -f "$data/$file" ] || { echo "$data/$file: is missing" >&2; missing=1; }
done
[ $missing -eq 0 ] || usage
[ ! -e "$out" ] || { echo "$out: exists already; give a new folder" >&2; exit 1; }
mkdir -p "$out/data" "$out/nano" "$out/runs"
cp -R "$here/recipes/nano" "$out/recipes"
texts=$out/data

# ---- data: of everything a part is held out of the run that is measured on it ------------------------------------
# Every 20th story. The last one is cut off: no separator follows it.
awk -v train="$texts/stories.txt" -v held="$texts/stories-held.txt" '
    /^<\|endoftext\|>$/ { if (length(story) > 100) print story $0 > (n++ % 20 ? train : held); story = ""; next }
    { sub(/\r$/, ""); story = story $0 "\n" }' "$data/tinystories_sample_2MiB.txt"

# A book without its licence, one line a paragraph; the last 20th is held out.
book() {
    awk '{ sub(/\r$/, "") } /^\*\*\* ?END OF/ { exit } inside { print } /^\*\*\* ?START OF/ { inside = 1 }' "$data/$1" |
        awk -v train="$texts/$2.txt" -v held="$texts/$2-held.txt" '
            BEGIN { RS = "" } { gsub(/\n/, " "); paragraph[NR] = $0 } END { for (i = 1; i <= NR; i++) print paragraph[i] "\n" > (i <= int(NR * 19 / 20) ? train : held) }'
}
book alice_pg11.txt alice
book sherlock_pg1661.txt holmes

# Plays: the last tenth; of some speakers' speeches every 12th, which their parents may have read in the whole plays.
plays=$data/tinyshakespeare.txt
part=$(($(wc -c < "$plays") * 9 / 10))
head -c $part "$plays" > "$texts/shakespeare.txt"
tail -c +$((part + 1)) "$plays" > "$texts/shakespeare-held.txt"
speeches() {
    awk -v speaker="$1" -v train="$texts/$2.txt" -v held="$texts/$2-held.txt" '
        BEGIN { RS = "" } { split($0, line, "\n") } line[1] ~ speaker { print $0 "\n" > (n++ % 12 ? train : held) }' "$plays"
}
speeches '^(KING|QUEEN|DUKE|PRINCE|GLOUCESTER|HENRY|BUCKINGHAM|WARWICK|YORK)( .*)?:$' kings
speeches '^(GLOUCESTER|KING RICHARD III|RICHARD):$' richard

cp "$data/rasbt_instruction-data.json" "$texts/instructions.json"
# The chosen answer takes the place of the plain one.
awk '/^ *"(output|rejected)":/ { next } /^ *"/ { sub(/,$/, ""); sub(/"chosen":/, "\"output\":"); row = row (row ? ",\n" : "") $0; next } { if (row) print row; row = ""; print }' \
    "$data/rasbt_instruction-data-with-preference.json" > "$texts/polite.json"

records() {
    awk -v every="$2" 'NR % every == 0 && !/\\/ && split($0, side, /\|\|/) == 2 {
        for (i = 1; i <= 2; i++) { gsub(/^ +| +$/, "", side[i]); gsub(/"/, "\\\"", side[i]) }
        printf "{\"instruction\": \"%s\", \"output\": \"%s\"}\n", side[1], side[2] }' "$data/$1"
}
records e2e_nlg_valid.txt 1 > "$texts/restaurants.jsonl"
records e2e_nlg_test.txt 20 > "$texts/restaurants-held.jsonl"

# Without the calculator's notes.
sed 's/<<[^>]*>>//g' "$data/gsm8k_train.jsonl" > "$texts/math.jsonl"
sed 's/<<[^>]*>>//g' "$data/gsm8k_test.jsonl" | awk 'NR % 10 == 1' > "$texts/math-held.jsonl"

# The tokenizer sees some of everything.
plain() { sed -n -e 's/^ *"[a-z]*": "\(.*\)",\{0,1\}$/\1/' -e 's/^{"question": "\(.*\)", "answer": "\(.*\)"}$/\1 \2/' -e 's/\\n/ /g' -e 's/\\"/"/g' -e '/^[][{} ,]*$/!p'; }
plain < "$texts/instructions.json" > "$texts/instructions-plain.txt"
head -n 1500 "$texts/math.jsonl" | plain > "$texts/math-plain.txt"
head -n 1500 "$data/e2e_nlg_valid.txt" > "$texts/restaurants-plain.txt"

# ---- the base ----------------------------------------------------------------------------------------------------
edgelora init "$out/start" --config "$out/recipes/config.json" --type BF16 --seed 7 \
    --special '<|endoftext|>' '<|user|>' '<|assistant|>' '<|end|>' --pad '<|endoftext|>' --chat-template "$out/recipes/chat.jinja" --document-separator '<|endoftext|>' \
    --text "$texts/stories.txt" "$texts/alice.txt" "$texts/holmes.txt" "$texts/shakespeare.txt" "$texts/instructions-plain.txt" "$texts/math-plain.txt" "$texts/restaurants-plain.txt"
edgelora train "$out/recipes/base.yaml" ${limit:-}
edgelora merge "$out/start" --adapter "$out/runs/base" --type BF16 -o "$out/nano/base"

# ---- the tree: runs of one line train together -------------------------------------------------------------------
train() {
    for node in "$@"; do shift; set -- "$@" "$out/recipes/$node.yaml"; done
    edgelora train "$@" ${limit:-}
}
train shakespeare holmes assistant restaurant math
train kings polite
train richard

# What a run says about itself has no place in the tree.
for node in shakespeare shakespeare/kings shakespeare/kings/richard holmes assistant assistant/polite restaurant math; do
    mkdir -p "$out/runs/${node##*/}"
    for file in metrics.jsonl loss.png loss.svg; do
        [ ! -f "$out/nano/$node/$file" ] || mv "$out/nano/$node/$file" "$out/runs/${node##*/}/"
    done
done

edgelora tree "$out/nano"
echo "held-out loss, before and after:"
for metrics in "$out"/runs/*/metrics.jsonl; do
    awk -v run="$(basename "$(dirname "$metrics")")" 'match($0, /"eval_loss": *[0-9.eE+-]+/) { loss = substr($0, RSTART, RLENGTH); sub(/.*: */, "", loss); if (!n++) first = loss } END { printf "%-12s %s -> %s\n", run, first, loss }' "$metrics"
done
