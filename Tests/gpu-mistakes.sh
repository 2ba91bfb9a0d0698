#!/bin/bash
# gpu-mistakes.sh [LEGATO]: what a user meets on a machine with a GPU where something is missing, full or damaged: the program ends with 2
# and says what is wrong and what to do, or mends it by itself. LEGATO: the command that starts the program.
legato=${1:-$(dirname "$0")/../Cli/bin/Release/net10.0/legato}
work=$(mktemp -d)
holder=
trap '[ -z "$holder" ] || kill "$holder" 2> /dev/null; rm -rf "$work"' EXIT
failed=0

# expect CODE NAME PART... -- COMMAND...: the command ends with that code and says each part.
expect() {
    local code=$1 name=$2 parts=() said status part wrong=
    shift 2
    while [ "$1" != -- ]; do parts+=("$1"); shift; done
    shift
    said=$(timeout 120 "$@" 2>&1 < /dev/null)
    status=$?
    [ $status = "$code" ] || wrong="ends with $status instead of $code"
    for part in "${parts[@]}"; do grep -qF -- "$part" <<< "$said" || wrong="${wrong:+$wrong; }doesn't say '$part'"; done
    if [ -z "$wrong" ]; then echo "ok      $name"; else
        failed=1
        printf 'FAILED  %s: %s\n%s\n' "$name" "$wrong" "$(tail -n 6 <<< "$said")"
    fi
}

export LEGATO_CACHE=$work/cache
norm="$legato bench norm --tokens 64 --size 1024 --rounds 1 --device cuda"
train="$legato train gpt2-124m --device cuda --precision bf16 --steps 1 --out $work/run"

expect 0 "with nothing wrong" -- $norm
expect 2 "no GPU is visible" "error:" "CUDA_VISIBLE_DEVICES" "--device cpu" -- env CUDA_VISIBLE_DEVICES= $norm
expect 2 "a GPU of an index that doesn't exist" "error:" "CUDA_VISIBLE_DEVICES" -- env CUDA_VISIBLE_DEVICES=99 $norm
expect 0 "no GPU is visible and none was asked for" -- env CUDA_VISIBLE_DEVICES= $legato bench norm --tokens 64 --size 1024 --rounds 1

# Before anything else than the norm has kept kernels: what it doesn't need it wouldn't mend.
i=0
for file in "$LEGATO_CACHE"/cuda/*; do
    size=$(stat -c %s "$file")
    case $((i++ % 3)) in
        0) : > "$file" ;;
        1) truncate -s $((size / 2)) "$file" ;;
        2) printf 'damage' | dd of="$file" bs=1 seek=$((size / 2)) conv=notrunc status=none ;;
    esac
    sha256sum "$file"
done > "$work/damaged"
[ -s "$work/damaged" ] || { echo "FAILED  nothing was kept in $LEGATO_CACHE"; failed=1; }
expect 0 "a damaged cache" -- $norm
sha256sum -c "$work/damaged" 2> /dev/null | grep -m 3 ': OK' && { echo "FAILED  a damaged file was kept"; failed=1; }
expect 0 "a cache folder that can't be written" -- env LEGATO_CACHE=/proc/none $norm
expect 2 "a plan that doesn't fit" "are free; the largest:" "would fit" -- $train --batch 16384

# Another process takes all but 1 GiB.
python3 - "$work/held" <<'P' &
import ctypes, sys, time
cuda = ctypes.CDLL("libcuda.so.1")
context, free, total, address = ctypes.c_void_p(), ctypes.c_size_t(), ctypes.c_size_t(), ctypes.c_uint64()
assert not cuda.cuInit(0) and not cuda.cuDevicePrimaryCtxRetain(ctypes.byref(context), 0) and not cuda.cuCtxSetCurrent(context)
cuda.cuMemGetInfo_v2(ctypes.byref(free), ctypes.byref(total))
assert not cuda.cuMemAlloc_v2(ctypes.byref(address), ctypes.c_size_t(free.value - (1 << 30)))
open(sys.argv[1], "w").close()
time.sleep(120)
P
holder=$!
for _ in $(seq 100); do [ -e "$work/held" ] && break; sleep 0.1; done
if [ -e "$work/held" ]; then
    expect 2 "another process holds the memory" "are free" "remedy:" -- $train --batch 8
else
    echo "skipped another process holds the memory: python3 can't take it"
fi
kill $holder 2> /dev/null
holder=

# A compiler or a library of products that can't be loaded: nothing but an empty file lies where each was.
hidden() { unshare -rm sh -c "find /usr /opt \"\$HOME\" -name '$1.so*' -type f 2> /dev/null | while read -r f; do mount --bind /dev/null \"\$f\"; done; shift; exec \"\$@\"" sh "$@"; }
export -f hidden
if unshare -rm mount --bind /dev/null /etc/hostname 2> /dev/null; then
    expect 2 "no NVRTC" "libnvrtc.so" "can't be found" "LEGATO_CUDA_PATH" -- bash -c 'hidden "$@"' bash libnvrtc $norm
    expect 2 "no cuBLAS" "libcublasLt.so" "can't be found" "LEGATO_CUDA_PATH" -- bash -c 'hidden "$@"' bash libcublasLt $train --batch 1
    expect 0 "the doctor tells of it" "libnvrtc.so" "LEGATO_CUDA_PATH" -- bash -c 'hidden "$@"' bash libnvrtc $legato doctor
else
    echo "skipped no NVRTC, no cuBLAS: files can't be hidden here (unshare)"
fi
exit $failed
