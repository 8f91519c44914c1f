#!/usr/bin/env bash
# Ten minutes on a machine with a GPU, unattended and without network: does it paint right, how fast, and learn all
# bundled styles in the time that is left. See docs/gpu.md.
#
#     benchmarks/gpu.sh OUT [--minutes 7] [--pack FOLDER] [--only check|speed|train] [--base-rate R]
#     benchmarks/gpu.sh OUT --device cpu --seconds 5 [--pack FOLDER]      rehearsal: everything, as small as can be
#
# OUT has at most eight files: report.txt to read, results.json, log.txt, trace.json.gz, curves.csv, styles.zip and
# sheet.jpg. Each is written as soon as there is something to write. PYTHON names the Python to use.
set -uo pipefail

usage() {
    sed -n 's/^#  *\(benchmarks.*\)/\1/p' "$0" >&2
    exit 2
}

[[ $# -ge 1 && $1 != -* ]] || usage
out=$1 minutes=7 seconds="" pack="" device=cuda base_rate=0 only=all
shift
while [[ $# -gt 0 ]]; do
    [[ $# -ge 2 ]] || usage
    case $1 in
    --minutes) minutes=$2 ;;
    --seconds) seconds=$2 ;;
    --pack) pack=$2 ;;
    --device) device=$2 ;;
    --base-rate) base_rate=$2 ;;
    --only) only=$2 ;;
    *) usage ;;
    esac
    shift 2
done
[[ $minutes =~ ^[0-9]+$ && $seconds =~ ^[0-9]*$ && $only =~ ^(all|check|speed|train)$ ]] || usage
wanted() { [[ $only == all || $only == "$1" ]]; }
begin=$(date +%s)
mkdir -p "$out" || exit 1
out=$(cd "$out" && pwd)
[[ -z $pack ]] || pack=$(cd "$pack" && pwd) || exit 1
cd "$(dirname "$0")/.." || exit 1
root=$PWD
log=$out/log.txt
work=$(mktemp -d)
export PYTHONPATH=$work/site:$root PYTHONUNBUFFERED=1 STYLIZE_HOME=$work/home COLUMNS=150
export TORCHINDUCTOR_CACHE_DIR=$work/inductor TRITON_CACHE_DIR=$work/triton HF_HUB_OFFLINE=1
mkdir -p "$work/site"

# The step under way is told to end, and writes what it has; then nothing more is begun.
child="" ended=""
finish() {
    ended=yes
    [[ -z $child ]] || kill -TERM "$child" 2>/dev/null
}
trap finish TERM INT
trap 'rm -rf "$work"' EXIT

# step NAME SECONDS COMMAND...: run a command for so long at most, and go on whatever comes of it.
step() {
    local name=$1 limit=$2 started=$SECONDS code
    shift 2
    [[ -z $ended ]] || return 1
    echo "== $name, at most $limit s" | tee -a "$log"
    timeout --kill-after=40 "$limit" "$@" > >(tee -a "$log") 2>&1 &
    child=$!
    wait "$child"
    code=$?
    if [[ -n $ended ]]; then # the wait was cut short: it may still be writing
        wait "$child"
        code=$?
    fi
    child=""
    echo "== $name: exit code $code after $((SECONDS - started)) s" | tee -a "$log"
    return "$code"
}

python=""
for candidate in ${PYTHON:+"$PYTHON"} python3 python .venv/bin/python /opt/*/.venv/bin/python3 /opt/*/bin/python3; do
    if command -v "$candidate" >/dev/null && timeout 120 "$candidate" benchmarks/gpu_setup.py --probe --device "$device"; then
        python=$candidate
        break
    fi
done 2>>"$log"
if [[ -z $python ]]; then
    echo "No Python here has a torch that sees the device $device; name one: PYTHON=... benchmarks/gpu.sh" | tee -a "$log"
    exit 1
fi

if [[ $device == cpu ]]; then
    seconds=${seconds:-5}
    setup=60 check=180 speed=180 probe=60 late=120
    small=(--styles van-gogh ink-wash)
    checking=(--side 128 "${small[@]}")
    training=(--size 64 --every 2 --shown 1 --batch 1 "${small[@]}")
else
    total=${seconds:-$((60 * minutes))}
    setup=60 check=60 speed=$((total / 6 < 75 ? total / 6 : 75)) probe=45 late=30
    checking=() training=()
fi
with_pack=()
[[ -z $pack ]] || with_pack=(--pack "$pack")

# A little before what runs over its time is stopped from outside, it stops by itself.
now() { date +%s; }
step "set up" $setup "$python" benchmarks/gpu_setup.py --out "$out" --site "$work/site" --device "$device" \
    ${pack:+--wheels "$pack/wheels"} || ended=${ended:-yes}
wanted check && step "check" $((check + 20)) "$python" benchmarks/gpu_checks.py "$out" --device "$device" \
    --until $(($(now) + check)) "${with_pack[@]}" "${checking[@]}"
wanted speed && step "speed" $((speed + 30)) "$python" benchmarks/speed.py --gpu --device "$device" --out "$out" \
    --until $(($(now) + speed))
if wanted train && [[ -n $pack ]]; then
    step "a training step" $probe "$python" benchmarks/gpu_train.py "$out" --probe --device "$device" \
        "${with_pack[@]}" "${training[@]}"
    until=$((begin + ${total:-0}))
    [[ $device == cpu ]] && until=$(($(now) + seconds + 10)) # the ten are for loading
    step "train" $((until - $(now) + late)) "$python" benchmarks/gpu_train.py "$out" --device "$device" --until "$until" \
        --base-rate "$base_rate" "${with_pack[@]}" "${training[@]}"
elif wanted train; then
    echo "There is no pack, so there is nothing to learn from; see docs/gpu.md." | tee -a "$log"
fi
echo "== done after $(($(now) - begin)) s" | tee -a "$log"
sleep 0.2 # for the last lines to reach the log
[[ -z $ended ]] || exit 143
